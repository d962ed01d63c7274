"""Several processes make the same files as one, of every type and shape."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bson import Decimal128, Int64, MaxKey, MinKey, Regex
from bson.code import Code

from tests.api_client import wait_for
from tests.builders import DATE_KEY, make_campaign, make_entry, make_market, make_user
from tests.delivered import load
from tests.format_processes import (
    HelpedPipeline,
    MoreHelpedPipeline,
    alone,
    from_the_first,
    helped,
    helpers_of,
    is_there,
    raw_batches,
)
from tests.golden import campaign as golden
from tests.golden.regenerate import ALL_MARKETS, CASES, FIGURES, golden_files
from tests.pipeline import run_pipeline
from tests.reference import Campaign
from vfexport_core.catalog import find_spec
from vfexport_core.ccpa.hashing import UserHasher
from vfexport_core.ccpa.person_keys import PersonHasher
from vfexport_core.ccpa.suppression import SuppressionList
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.errors import SourceUnavailable
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.stages import is_ordered
from vfexport_core.rows.members import MemberSet
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.settings import Settings

BATCH = 10
PIPELINES = {1: ExportPipeline, 2: HelpedPipeline, 3: MoreHelpedPipeline}


def plan_of(
    database: Database[Any], campaign_id: str, settings: Settings, export_type: str = "entries", **options: Any
) -> ExportPlan:
    options = {"batch_documents": BATCH} | options
    spec = find_spec(export_type)
    return ExportPlan.load(spec, find_campaign(database, campaign_id), database, from_the_first(settings, 2), **options)


@pytest.fixture
def campaign_id(database: Database[Any]) -> str:
    return seed_campaign(database, entries=100, dirty_share=0.015)


@pytest.mark.parametrize("processes", PIPELINES)
def test_every_type_has_the_same_bytes(database: Database[Any], settings: Settings, processes: int) -> None:
    limits = {"max_rows_per_file": golden.MAX_ROWS_PER_FILE, "sample_rows": golden.SAMPLE_ROWS}
    settings = from_the_first(settings.model_copy(update=limits), processes)
    campaign_id = load(database, golden.BUNDLE)
    figures = json.loads(FIGURES.read_text())
    for case in CASES:
        spec = find_spec("entries" if case == ALL_MARKETS else case)
        options: dict[str, Any] = {
            "date_key": DATE_KEY if spec.needs_date_key else None,
            "include_all_markets": case == ALL_MARKETS,
            "batch_documents": 1,
        }
        if spec.shape.sample is None:
            options["pipeline_class"] = PIPELINES[processes]
        exported = run_pipeline(database, campaign_id, spec.type, settings, **options)
        files = golden_files(case)
        if case == "autoReminderEmail":  # in an archive they go by their region and locale
            assert sorted(exported.files.values()) == sorted(files.values())
        else:
            assert exported.files == files, case
        warnings = {name: n for name, n in exported.warnings.items() if name != "unknownAdditionalMarket"}
        found = {"rows": exported.rows, "warnings": warnings, "skipped": exported.skipped}
        assert found == {name: figures[case][name] for name in found}, case


def test_a_sample_is_left_to_one_process(database: Database[Any], settings: Settings, campaign_id: str) -> None:
    plan = plan_of(database, campaign_id, settings, "reminderEmailSample")
    assert is_ordered(plan)
    before = set(helpers_of(os.getpid()))
    seen: list[set[int]] = []
    options: dict[str, Any] = {"batch_documents": 1, "watch": lambda _: seen.append(set(helpers_of(os.getpid())))}
    run_pipeline(database, campaign_id, "reminderEmailSample", from_the_first(settings, 3), **options)
    assert seen
    assert all(found == before for found in seen)


def test_a_small_export_starts_no_process(database: Database[Any], settings: Settings, campaign_id: str) -> None:
    settings = settings.model_copy(update={"format_processes": 3, "format_processes_from": 1_000})
    pools: list[Any] = []
    run_pipeline(
        database, campaign_id, "entries", settings, batch_documents=BATCH, watch=lambda it: pools.append(it.pool)
    )
    assert pools
    assert not any(pool.others for pool in pools)


def test_what_was_read_shows_that_an_export_is_large(
    database: Database[Any], settings: Settings, campaign_id: str
) -> None:
    settings = settings.model_copy(update={"format_processes": 2, "format_processes_from": 2 * BATCH})
    seen: list[int] = []
    run_pipeline(
        database,
        campaign_id,
        "entries",
        settings,
        batch_documents=BATCH,
        watch=lambda it: seen.append(len(it.pool.others) if it.pool else -1),
    )
    assert seen[:2] == [0, 0]
    assert seen[2:] == [1] * len(seen[2:]) != []


def test_users_who_are_left_out_are_counted_over_all_processes(
    database: Database[Any], settings: Settings, campaign_id: str
) -> None:
    hasher = UserHasher("key")
    users = [str(entry["_id"]["user_id"]) for entry in database["entries"].find({}, {"_id": 1})]
    gone = frozenset(hasher.hash(user) for user in users[::3])
    nobody = np.array([], dtype=np.uint64)
    suppressed = SuppressionList(gone, hasher, MemberSet([]), PersonHasher.of_secret("key"), nobody)
    plan = plan_of(database, campaign_id, settings, suppression=suppressed)
    raw = raw_batches(plan, database)
    wanted = alone(plan, raw, database)
    with helped(plan, raw, database) as export:
        export.have_done(4)
        assert export.rest() == wanted
    assert sum(counters.suppressed for _, counters in wanted) == len(gone)


def test_one_process_learns_a_type_and_the_other_does_not(database: Database[Any], settings: Settings) -> None:
    """The first and the last batches, done here, have text where those between, done there, have numbers."""
    batch = 60

    def entry(number: int) -> dict[str, Any]:
        phone = Int64(15_125_550_000 + number) if batch <= number < 3 * batch else f"+1512555{number:04}"
        return make_entry(number, fields={"phone": phone})

    numbers = range(1, 5 * batch + 1)
    bundle = Campaign(
        make_campaign(), [make_market()], [make_user(n) for n in numbers], [entry(n) for n in numbers], []
    )
    plan = plan_of(database, load(database, bundle), settings, batch_documents=batch)
    raw = raw_batches(plan, database)
    wanted = alone(plan, raw, database)
    with helped(plan, raw, database) as export:
        export.have_done(3)
        os.kill(export.pid, signal.SIGSTOP)
        assert export.rest() == wanted


def test_a_campaign_with_values_of_any_type_crosses_to_other_processes(
    database: Database[Any], settings: Settings
) -> None:
    odd = [MinKey(), MaxKey(), Decimal128("1.5"), Regex("a"), Code("f()"), Int64(2**60), b"bytes", None, {"a": [1]}]
    campaign = make_campaign(notes=odd)
    bundle = Campaign(campaign, [make_market()], [make_user(1)], [make_entry(1)], [])
    plan = plan_of(database, load(database, bundle), settings)
    assert pickle.loads(pickle.dumps(plan)).campaign == plan.campaign


def test_an_error_of_the_service_in_another_process_is_the_same_error(
    database: Database[Any], settings: Settings, campaign_id: str, failing_users: Any
) -> None:
    plan = plan_of(database, campaign_id, settings)
    raw = raw_batches(plan, database)
    with helped(plan, raw, database) as export:
        failing_users()
        export.gate.let_go(1)
        wait_for(lambda: not is_there(export.pid), 60)
        export.gate.open()
        with pytest.raises(
            SourceUnavailable, match=r"MongoDB failed on collection users \(look-up\): .*code 13"
        ) as caught:
            list(export.batches)
        assert caught.value.payload == "users"


@pytest.fixture
def failing_users(mongo_client: Any) -> Any:
    """Have MongoDB refuse what the clients of format processes ask; ours goes by another name."""
    data = {"failCommands": ["aggregate"], "appName": "vfexport", "errorCode": 13}
    command = partial(mongo_client.admin.command)
    yield lambda: command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
    command({"configureFailPoint": "failCommand", "mode": "off"})


def test_any_other_error_is_met_by_the_run_itself(
    database: Database[Any], settings: Settings, campaign_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of(database, campaign_id, settings)
    raw = raw_batches(plan, database)
    raw[3] = raw[3][:-1] + b"\x01"
    with pytest.raises(Exception, match=r".+") as wanted:
        alone(plan, raw, database)
    with helped(plan, raw, database) as export:
        export.have_done(2)
        export.gate.let_go(1)
        wait_for(lambda: not is_there(export.pid))
        with pytest.raises(type(wanted.value)) as caught:
            export.rest()
    assert str(caught.value) == str(wanted.value)
    assert f"it met {type(wanted.value).__name__}" in caplog.text


def test_what_another_process_logs_is_logged_by_the_run(
    database: Database[Any], settings: Settings, campaign_id: str, caplog: pytest.LogCaptureFixture, mongo_client: Any
) -> None:
    plan = plan_of(database, campaign_id, settings)
    raw = raw_batches(plan, database)
    wanted = alone(plan, raw, database)
    with helped(plan, raw, database) as export:
        data = {"failCommands": ["aggregate"], "appName": "vfexport", "errorCode": 11600}
        mongo_client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 2}, "data": data})
        export.have_done(3)
        assert export.rest() == wanted, "a passing fault passes"
    retried = [record for record in caplog.records if record.name == "vfexport_core.mongo.retry"]
    assert [record.levelno for record in retried] == [logging.WARNING] * len(retried)
    assert all("reading users failed" in record.getMessage() for record in retried)
    assert retried


def test_the_command_line_says_nothing_of_the_export(
    database: Database[Any], settings: Settings, campaign_id: str
) -> None:
    plan = plan_of(database, campaign_id, settings)
    with helped(plan, raw_batches(plan, database), database) as export:
        shown = Path(f"/proc/{export.pid}/cmdline").read_bytes()
    assert b"vfexport_core/pipeline/processes/start.py" in shown
    for secret in (campaign_id, settings.mongo_uri.get_secret_value(), settings.mongo_database):
        assert secret.encode() not in shown


UNPICKLE = """
import pickle, sys
from vfexport_core.without_pandas import leave_out_pandas
leave_out_pandas()
import vfexport_core.pipeline.processes.helper
plan = pickle.load(sys.stdin.buffer)
print(*{"pandas", "pydantic", "boto3", "dagster"} & sys.modules.keys())
print(plan)
"""


def test_a_format_process_loads_no_more_than_it_needs_and_shows_no_secret(
    database: Database[Any], settings: Settings, campaign_id: str
) -> None:
    """What it does not import is time in which it takes batches."""
    plan = plan_of(database, campaign_id, settings)
    done = subprocess.run([sys.executable, "-c", UNPICKLE], input=pickle.dumps(plan), capture_output=True, check=True)
    imported, _, shown = done.stdout.partition(b"\n")
    assert imported == b""
    assert settings.mongo_database.encode() in shown
    assert settings.mongo_uri.get_secret_value().encode() not in shown


def test_a_process_that_cannot_be_started_is_done_without(
    database: Database[Any],
    settings: Settings,
    campaign_id: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wanted = run_pipeline(database, campaign_id, "entries", settings, batch_documents=BATCH)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    found = run_pipeline(database, campaign_id, "entries", from_the_first(settings, 3), batch_documents=BATCH)
    assert found == wanted
    assert caplog.text.count("no further process could be started") == 2
