"""The doctor's canary: exported by whoever runs exports, and gone afterwards, whatever happened to it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId

from tests.dagster.conftest import Buckets
from tests.integration.queue_helpers import ERROR, triggered
from vfexport_core.doctor.canary_check import canary_check
from vfexport_core.doctor.checks import Outcome, run_checks
from vfexport_core.errors import DeliveryFailed, ExportNotClaimable
from vfexport_core.queue.models import AutoRetries, ExportStatus
from vfexport_core.queue.removal import ExportRemoval
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services import canary, exports
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import initialise
from vfexport_core.services.run_attempt import run_claimed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.queue.models import Export
    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

SOURCES = ("campaigns", "markets", "users", "entries")
IDLE_SECONDS = 0.05


@pytest.fixture
def backend(settings: Settings, database: Documents) -> Iterator[Backend]:
    initialise(database)
    with Backend(settings, database=database) as backend:
        yield backend


@pytest.fixture
def buckets(settings: Settings) -> Iterator[Buckets]:
    buckets = Buckets(settings)
    yield buckets
    buckets.client.close()


@contextmanager
def working(settings: Settings, database: Documents) -> Iterator[None]:
    """Run exports for the block, as Dagster would."""
    stop = threading.Event()

    def work() -> None:
        with Backend(settings, database=database) as backend:
            while not stop.wait(IDLE_SECONDS):
                for export in backend.queue.pending(1):
                    try:
                        claim, claimed = backend.queue.claim(export.id, "run-of-the-test")
                    except ExportNotClaimable:
                        continue
                    run_claimed(claim, claimed, backend, on_count=lambda _: None, on_progress=lambda *_: None)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def left(database: Documents) -> dict[str, int]:
    found = {name: database[name].count_documents({}) for name in (*SOURCES, "exports", "ccpaFileIndex")}
    return {name: number for name, number in found.items() if number}


def test_it_comes_out_at_the_end_and_leaves_nothing(
    backend: Backend, settings: Settings, database: Documents, buckets: Buckets
) -> None:
    with working(settings, database):
        (finding,) = run_checks([canary_check(settings)])
    assert finding.outcome is Outcome.OK, finding
    assert left(database) == {}
    assert buckets.everything() == []


def test_one_that_nobody_takes_up_fails_and_leaves_nothing(backend: Backend, database: Documents) -> None:
    result = canary.send_canary(backend, wait_seconds=0.1)
    assert (result.problem, result.is_certain) == ("nothing takes it up", True)
    assert left(database) == {}


def test_one_that_waits_behind_another_export_says_so(backend: Backend, database: Documents) -> None:
    running = triggered(backend.queue)
    result = canary.send_canary(backend, wait_seconds=0.1)
    assert result.problem is not None
    assert running.export_id in result.problem
    assert not result.is_certain
    assert left(database) == {"exports": 1}


@pytest.mark.parametrize("why", ["paused", "hung", "begins after"])
def test_one_that_nobody_may_take_up_says_why(
    backend: Backend, database: Documents, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    match why:
        case "paused":
            backend.queue.pause.begin("upgrade", "cli:ann")
        case "hung":
            backend.queue.breakers.trip("exportsS3")
        case _:
            request = exports.request

            def failed_once(*arguments: Any) -> Any:
                requested = request(*arguments)
                queue = ExportRepository(database, retries=AutoRetries(1, 600.0))
                claim, _ = queue.claim(requested[0].id, "run-1")
                queue.close_run(claim.export_id, "run-1", ExportStatus.FAILED, ERROR, is_transient=True)
                return backend.queue.get(requested[0].id), requested[1]

            monkeypatch.setattr(exports, "request", failed_once)
    result = canary.send_canary(backend, wait_seconds=0.1)
    assert result.problem is not None
    assert why in result.problem
    assert not result.is_certain
    assert left(database) == {}


def test_one_that_ends_before_it_is_cancelled_is_taken_away(
    backend: Backend, database: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = backend.queue.request_cancel

    def late(_: ExportRepository, export_id: str) -> Export:
        cancel(export_id)
        return cancel(export_id)

    monkeypatch.setattr(ExportRepository, "request_cancel", late)
    assert canary.send_canary(backend, wait_seconds=0.1).problem == "nothing takes it up"
    assert left(database) == {}


def test_its_documents_go_even_where_its_exports_do_not(
    backend: Backend, database: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DeliveryFailed("the bucket does not answer")

    monkeypatch.setattr(ExportRemoval, "remove", fail)
    with pytest.raises(DeliveryFailed):
        canary.send_canary(backend, wait_seconds=0.1)
    assert left(database) == {"exports": 1}


def test_what_a_killed_one_left_is_taken_away_by_the_next(
    backend: Backend, settings: Settings, database: Documents, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(settings, database):
        with monkeypatch.context() as killed:
            killed.setattr(canary, "_remove_exports", lambda _: None)
            killed.setattr(canary, "_remove_documents", lambda _: None)
            assert canary.send_canary(backend).problem is None
        assert buckets.everything() != []
        assert canary.send_canary(backend).problem == "another canary is under way", "it may still live"
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        database.campaigns.update_one({"_id": ObjectId(canary.CAMPAIGN_ID)}, {"$set": {"canary.since": long_ago}})
        assert canary.send_canary(backend).problem is None
    assert left(database) == {}
    assert buckets.everything() == []


def test_a_file_that_is_not_what_was_delivered_is_found(
    backend: Backend, settings: Settings, database: Documents, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = canary._judge

    def alter_and_judge(backend: Backend, export: Any) -> Any:
        buckets.client.put_object(Bucket=settings.buckets.exports.name, Key=export.keys[0], Body=b"something else")
        return judge(backend, export)

    monkeypatch.setattr(canary, "_judge", alter_and_judge)
    with working(settings, database):
        assert canary.send_canary(backend).problem == "the file is not the one that was delivered: its digest differs"
    assert buckets.everything() == []
