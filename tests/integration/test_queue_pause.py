"""The queue paused, resumed and drained: who holds still, who is told, and that nothing is lost by it."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect

from tests.api_client import insert_campaign, running_api
from tests.cli_helpers import Cli, error_of, load
from tests.integration.queue_helpers import DELIVERED, ERROR, queued, triggered
from vfexport_core.errors import QueueBusy, QueuePaused
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.pause import CLAIM_SECONDS, DRAIN_LAG_SECONDS
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.queue.statistics.estimates import Estimator
from vfexport_core.services.claim import Turn, WaitPolicy
from vfexport_core.services.control_queue import drain
from vfexport_core.services.hanging_buckets import claimable
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.queue.models import Export
    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

ONCE = WaitPolicy(0.01, 60_000, most_seconds=0)


@pytest.fixture
def store(database: Documents) -> ExportRepository:
    store = ExportRepository(database)
    initialise(database)
    return store


def test_nothing_is_claimed_while_the_queue_is_paused_and_everything_after(store: ExportRepository) -> None:
    pending, ended = queued(store), triggered(store)
    store.claimed(ended).fail(ERROR)
    store.pause.begin("MongoDB is upgraded", "cli:ann")
    with pytest.raises(QueuePaused, match=r"paused since \d{4}-.* UTC by cli:ann: MongoDB is upgraded$"):
        store.claim(pending.id, "run-2")
    with pytest.raises(QueuePaused):
        store.claim_again(ended.export_id, "run-2", 1)
    assert claimable(store, 10) == []
    assert store.get(pending.id) == pending, "it is as it was"
    assert store.pause.end() is not None
    assert store.pause.end() is None
    assert store.claim(pending.id, "run-2")[1].status is ExportStatus.TRIGGERED


def test_a_pause_keeps_its_beginning_and_its_reason_until_another_is_given(store: ExportRepository) -> None:
    first = store.pause.begin("$upgrade", "cli:ann")
    second = store.pause.begin(None, "cli:bob")
    third = store.pause.begin("", "$$ROOT")
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.reason, second.reason, third.reason) == ("$upgrade", "$upgrade", "")
    assert (first.since, first.since) == (second.since, third.since)
    assert str(third).endswith("by $$ROOT")


def test_whoever_waits_for_a_turn_says_why_and_goes_on_after_resuming(store: ExportRepository) -> None:
    export = queued(store)
    queued(store, export_type="scoring")
    store.pause.begin(None, "cli:ann")
    told: list[str] = []

    def resume(why: str) -> None:
        told.append(why)
        store.pause.end()

    claim, _ = Turn(store, "run-1", WaitPolicy(0.01, 60_000), resume).claim_oldest_first(export.id)
    assert claim.export_id == export.id
    (why,) = told
    assert why.startswith("the queue has been paused since ")


def test_a_place_in_the_queue_says_that_it_is_paused(store: ExportRepository) -> None:
    export = queued(store)
    store.breakers.trip("exportsS3")
    store.pause.begin("upgrade", "cli:ann")
    place = Estimator(store).estimate(export)
    assert place is not None
    assert place.reason is not None
    assert place.reason.endswith(" UTC: upgrade")
    assert "ann" not in place.reason, "the operator's account is not for callers"


def test_drained_is_what_runs_no_more_whether_it_ended_well_or_was_lost(store: ExportRepository) -> None:
    claim = triggered(store)
    store.pause.begin(None, "cli:ann")
    seen: list[str] = []

    def finish(export: Export) -> None:
        seen.append(export.id)
        store.claimed(claim).finish(DELIVERED)

    with pytest.raises(QueueBusy, match=f"{claim.export_id} is still TRIGGERED"):
        drain(store, ONCE, seen.append)
    seen.clear()
    drain(store, WaitPolicy(0.01, 60_000), finish, lag_seconds=0)
    assert seen == [claim.export_id]
    store.pause.end()
    lost = triggered(ExportRepository(store.database, lease_seconds=0))
    store.pause.begin(None, "cli:ann")
    drain(store, WaitPolicy(0.01, 60_000), lambda _: None, lag_seconds=0)
    assert store.get(lost.export_id).status is ExportStatus.FAILED


def test_a_pause_that_has_just_begun_is_not_trusted_and_one_that_ended_is_told(store: ExportRepository) -> None:
    """A claim that looked just before it began may still come to pass."""
    store.pause.begin(None, "cli:ann")
    with pytest.raises(QueueBusy, match="only just begun"):
        drain(store, ONCE, lambda _: None, lag_seconds=3_600)
    clock = itertools.count().__next__
    with pytest.raises(QueueBusy, match="resumed"):
        drain(
            store, WaitPolicy(0, 60_000, clock=clock, sleep=lambda _: store.pause.end()), lambda _: None, lag_seconds=60
        )


@pytest.mark.parametrize("is_applied", [False, True], ids=["fault-before", "answer-lost"])
def test_a_claim_that_is_tried_again_looks_at_the_pause_again(
    store: ExportRepository, monkeypatch: pytest.MonkeyPatch, *, is_applied: bool
) -> None:
    """What is claimed before the pause is held, should the answer be lost as well; nothing is after it."""
    export = queued(store)
    original = Collection.find_one_and_update

    def pause_and_fail(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(Collection, "find_one_and_update", original)
        if is_applied:
            original(*arguments, **options)
        store.pause.begin(None, "cli:ann")
        raise AutoReconnect("the connection was lost")

    monkeypatch.setattr(Collection, "find_one_and_update", pause_and_fail)
    if is_applied:
        assert store.claim(export.id, "run-1")[1].status is ExportStatus.TRIGGERED
    else:
        with pytest.raises(QueuePaused):
            store.claim(export.id, "run-1")
        assert store.get(export.id) == export


def test_a_drain_waits_longer_than_a_claim_may_take() -> None:
    assert DRAIN_LAG_SECONDS > CLAIM_SECONDS


@pytest.fixture
def cli(settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)  # no .env of a developer is read
    return Cli(settings_environment | {"VFEXPORT_POLLING_INTERVAL_MILLIS": "20"}, tmp_path)


def test_the_command_pauses_tells_and_resumes(cli: Cli, store: ExportRepository) -> None:
    claim = triggered(store)
    queued(store)
    status = json.loads(cli.run("queue", "status", "--json").stdout)
    assert (status["paused"], status["pending"], status["running"]) == (None, 1, claim.export_id)
    drained = cli.run("queue", "drain", "--reason", "upgrade", "--wait", "0", "--json")
    assert (drained.exit_code, error_of(drained.stderr)["code"]) == (3, "QueueBusy")
    paused = json.loads(cli.run("queue", "pause", "--json").stdout)["paused"]
    assert (paused["reason"], paused["by"].partition(":")[0]) == ("upgrade", "cli")
    assert "upgrade" in cli.run("queue", "status").stdout
    assert json.loads(cli.run("queue", "resume", "--json").stdout)["paused"] is None
    assert store.pause.read() is None


def test_an_export_of_the_command_line_waits_until_the_queue_is_resumed(
    cli: Cli, store: ExportRepository, database: Documents
) -> None:
    store.pause.begin("upgrade", "cli:ann")
    with cli.process("export", load(database, 20), "entries") as running:
        running.wait_for("waiting: the queue has been paused")
        (export,) = store.list()
        assert export.status is ExportStatus.PENDING
        store.pause.end()
        assert running.end() == 0
    assert store.get(export.id).status is ExportStatus.FINISHED


def test_the_api_and_its_metrics_tell(settings: Settings, store: ExportRepository, database: Documents) -> None:
    with running_api(settings) as api:
        token = api.token("*")
        path = f"/campaigns/{insert_campaign(database)}/exports"
        assert api.get("/queue", token=token).json() == {"pending": 0, "running": 0}
        store.pause.begin("upgrade", "cli:ann")
        export = api.post(path, token=token, json={"exportType": "entries"}).json()
        assert export["queue"]["reason"].endswith("upgrade")
        found = api.get("/queue", token=token).json()
        assert (found["pending"], found["paused"]["reason"]) == (1, "upgrade")
        assert "vfexport_queue_paused 1.0" in api.get("/metrics").text
