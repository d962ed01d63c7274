"""Format processes die, stand still or lose their MongoDB: that costs time, never a row. None outlives its run."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.uri_parser import parse_uri

from tests.api_client import wait_for
from tests.cli_helpers import Cli
from tests.format_processes import (
    READY_SECONDS,
    SILENCE_SECONDS,
    alone,
    from_the_first,
    helped,
    helpers_of,
    is_serving,
    is_there,
    raw_batches,
)
from tests.proxy import Proxy
from vfexport_core.catalog import find_spec
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.processes.remote import SCRIPT
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer
    from vfexport_core.settings import Settings

ENTRIES = 60
BATCH = 12
BATCHES = 5


@pytest.fixture
def campaign_id(database: Database[Any]) -> str:
    return seed_campaign(database, entries=ENTRIES, dirty_share=0.015)


@pytest.fixture
def plan(database: Database[Any], settings: Settings, campaign_id: str) -> ExportPlan:
    return plan_of(database, settings, campaign_id)


def plan_of(database: Database[Any], settings: Settings, campaign_id: str) -> ExportPlan:
    campaign = find_campaign(database, campaign_id)
    settings = from_the_first(settings, 2)
    return ExportPlan.load(find_spec("entries"), campaign, database, settings, batch_documents=BATCH)


@pytest.fixture
def proxy(mongo_server: MongoServer) -> Iterator[Proxy]:
    """Return a way to MongoDB whose faults only those meet that use its address."""
    (target,) = parse_uri(mongo_server.uri)["nodelist"]
    with Proxy(target) as proxy:
        yield proxy


@pytest.fixture
def settings_by_proxy(settings: Settings, proxy: Proxy) -> Settings:
    address = f"mongodb://{proxy.host}:{proxy.port}/?directConnection=true"
    return settings.model_copy(update={"mongo_uri": type(settings.mongo_uri)(address)})


@pytest.mark.parametrize("number", range(1, BATCHES))
def test_killed_at_any_batch(
    database: Database[Any], plan: ExportPlan, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    raw = raw_batches(plan, database)
    assert len(raw) == BATCHES
    wanted = alone(plan, raw, database)
    with helped(plan, raw, database) as export:
        export.have_done(number - 1)
        export.have_taken(number)
        os.kill(export.pid, signal.SIGKILL)
        assert export.rest() == wanted
        assert export.other.done == number - 1
    assert f"format process {export.pid} is lost" in caplog.text
    assert "exit status -9): 1 batches are done again" in caplog.text


def test_killed_before_it_is_ready(database: Database[Any], plan: ExportPlan) -> None:
    raw = raw_batches(plan, database)
    wanted = alone(plan, raw, database)
    with helped(plan, raw, database, wait=False) as export:
        wait_for(lambda: export.other.pid, READY_SECONDS)
        os.kill(export.pid, signal.SIGKILL)
        assert export.rest() == wanted


def test_all_of_several_are_killed(database: Database[Any], plan: ExportPlan) -> None:
    raw = raw_batches(plan, database)
    wanted = alone(plan, raw, database)
    with helped(plan, raw, database, others=2) as export:
        export.have_done(2)
        for process in export.pool.others:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        assert export.rest() == wanted


def test_stopped_it_is_given_up_and_ended(
    database: Database[Any], plan: ExportPlan, caplog: pytest.LogCaptureFixture
) -> None:
    raw = raw_batches(plan, database)
    wanted = alone(plan, raw, database)
    with helped(plan, raw, database) as export:
        export.have_done(1)
        export.have_taken(2)
        assert export.rest() == wanted
        assert not is_there(export.pid), "what is stopped does not stay"
    assert "silent for 5 s): " in caplog.text


def test_stopped_with_batches_that_are_larger_than_what_the_system_holds(
    database: Database[Any], plan: ExportPlan
) -> None:
    """Then it is the sending that does not come to an end."""
    raw = raw_batches(plan, database)
    raw = [raw[0], raw[1] * 400, *raw[2:]]
    assert len(raw[1]) > 2**20
    wanted = alone(plan, raw, database)
    with helped(plan, raw, database) as export:
        export.have_taken(1)
        assert export.rest() == wanted


def test_one_that_waits_for_mongodb_is_no_lost_one(
    database: Database[Any],
    settings_by_proxy: Settings,
    campaign_id: str,
    proxy: Proxy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan = plan_of(database, settings_by_proxy, campaign_id)
    raw = raw_batches(plan, database)
    wanted = alone(plan, raw, database)
    with helped(plan, raw, database) as export:
        export.have_done(1)
        proxy.delay = 0.6 * SILENCE_SECONDS  # each way
        export.have_done(2)
        proxy.delay = 0.0
        assert export.rest() == wanted
    assert "is lost" not in caplog.text


def test_a_connection_that_breaks_costs_nothing(
    database: Database[Any], settings_by_proxy: Settings, campaign_id: str, proxy: Proxy
) -> None:
    plan = plan_of(database, settings_by_proxy, campaign_id)
    raw = raw_batches(plan, database)
    wanted = alone(plan, raw, database)
    with helped(plan, raw, database) as export:
        export.have_done(1)
        for _ in range(BATCHES - 3):
            assert proxy.cut()
            export.have_done(1)
        assert export.rest() == wanted


def test_leaving_an_export_ends_its_processes(database: Database[Any], plan: ExportPlan) -> None:
    raw = raw_batches(plan, database)
    with helped(plan, raw, database, others=2) as export:
        export.have_done(1)
        pids = helpers_of(os.getpid())
        assert len(pids) == 2
    assert not [pid for pid in pids if is_there(pid)]


def test_it_ends_with_its_socket(database: Database[Any]) -> None:
    """Also where the kernel does not tell it that its parent has gone."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, SCRIPT, str(theirs.fileno()), str(os.getpid())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        ours.close()
        assert process.wait(READY_SECONDS) == 0


@pytest.fixture
def run(
    settings_environment: dict[str, str], proxy: Proxy, campaign_id: str, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Begin an export as a command, with two processes beside it, and stop it while it waits for MongoDB."""
    own = {
        "VFEXPORT_MONGO_URI": f"mongodb://{proxy.host}:{proxy.port}/?directConnection=true",
        "VFEXPORT_FORMAT_PROCESSES": "3",
        "VFEXPORT_FORMAT_PROCESSES_FROM": "0",
    }
    cli = Cli(settings_environment | own, tmp_path)
    proxy.on_block = lambda to_server, block: hold(proxy, to_server, block)
    with cli.process("export", campaign_id, "entries", "--output", "out.csv") as running:
        wait_for(lambda: len(helpers_of(running.child.pid)) == 2, READY_SECONDS)
        pids = helpers_of(running.child.pid)
        wait_for(lambda: all(map(is_serving, pids)), READY_SECONDS)
        yield running.child, pids


def hold(proxy: Proxy, to_server: bool, block: bytes) -> None:
    """Answer so slowly, from the scan on, that the export is still at work when its processes wait for batches."""
    if to_server and b"$sort" in block:
        proxy.delay = 10.0


@pytest.mark.parametrize("first", [None, signal.SIGSTOP], ids=["at work", "stopped"])
@pytest.mark.parametrize("helpers", [None, signal.SIGSTOP], ids=["helpers at work", "helpers stopped"])
def test_none_outlives_a_run_that_is_killed_and_none_writes_anything(
    run: tuple[subprocess.Popen[str], list[int]],
    first: signal.Signals | None,
    helpers: signal.Signals | None,
    *,
    tmp_path: Path,
) -> None:
    child, pids = run
    assert all(map(is_there, pids))
    for pid in pids if helpers else []:
        os.kill(pid, helpers)
    if first:
        os.kill(child.pid, first)
    child.kill()
    child.wait()
    wait_for(lambda: not [pid for pid in pids if is_there(pid)], 30)
    assert not (tmp_path / "out.csv").exists()


def test_ctrl_c_ends_a_run_and_its_processes(run: tuple[subprocess.Popen[str], list[int]], proxy: Proxy) -> None:
    child, pids = run
    child.send_signal(signal.SIGINT)
    proxy.delay = 0  # for the answers that it waits for before it ends
    assert child.wait(60) == 130
    assert not [pid for pid in pids if is_there(pid)]


def test_the_command_writes_the_same_file_with_any_number_of_processes(
    settings_environment: dict[str, str], campaign_id: str, tmp_path: Path
) -> None:
    digests: set[str] = set()
    cli = Cli(settings_environment, tmp_path)
    for count in ("1", "2", "4"):
        number = {"VFEXPORT_FORMAT_PROCESSES": count, "VFEXPORT_FORMAT_PROCESSES_FROM": "0"}
        with cli.process("export", campaign_id, "entries", "--output", "out.csv", **number) as running:
            assert running.end() == 0, running.stderr
        digests.add(hashlib.sha256((tmp_path / "out.csv").read_bytes()).hexdigest())
    assert len(digests) == 1
