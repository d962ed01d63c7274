"""An attempt that a passing fault ended is followed by the next one by itself: how often, when, by whose decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId

from tests.api_client import running_api
from tests.integration.queue_helpers import DELIVERED, new_export, queued, triggered
from vfexport_core.errors import (
    DeliveryFailed,
    DeliveryRefused,
    ExportExpired,
    LeaseLost,
    QueueBusy,
    SourceMissing,
    SourceUnavailable,
    VfexportError,
    WorkerLost,
)
from vfexport_core.queue.models import AutoRetries, Export, ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.queue.statistics.estimates import Estimator
from vfexport_core.services.claim import Turn, WaitPolicy
from vfexport_core.services.initialise import initialise
from vfexport_core.services.record_run_end import RunEnd, record_run_end
from vfexport_core.telemetry.threads import at_once

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

PENDING, FAILED, CANCELED, EXPIRED = (
    *(ExportStatus.PENDING, ExportStatus.FAILED),
    *(ExportStatus.CANCELED, ExportStatus.EXPIRED),
)
AT_ONCE, LATER = AutoRetries(2, 0), AutoRetries(2, 600)


def opened(database: Documents, retries: AutoRetries = AT_ONCE, lease_seconds: float = 0) -> ExportRepository:
    """A queue whose leases are over at once."""
    return ExportRepository(database, lease_seconds=lease_seconds, retries=retries)


@pytest.fixture
def store(database: Documents) -> ExportRepository:
    initialise(database)
    return opened(database)


def codes(export: Export) -> list[tuple[int, str, str | None]]:
    return [(one.attempt, one.status, one.error and one.error["code"]) for one in export.attempts]


def test_a_lost_worker_is_followed_by_two_attempts_and_no_more(store: ExportRepository) -> None:
    export = queued(store)
    for attempt in (1, 2, 3):
        assert store.get(export.id).attempt == attempt
        store.claim(export.id, f"run-{attempt}", attempt)
        assert store.reaper.reap(60_000) is not None
    failed = store.get(export.id)
    assert (failed.status, failed.attempt) == (FAILED, 3)
    assert codes(failed) == [(attempt, "FAILED", "WorkerLost") for attempt in (1, 2, 3)]
    assert failed.position == export.position
    again = store.retry(export.id)
    store.claim(again.id, "run-4")
    store.reaper.reap(60_000)
    assert store.get(export.id).status is PENDING, "whoever retries it may hope for as many again"


def test_of_several_who_end_a_lost_attempt_one_has_the_next_one_follow(
    store: ExportRepository, database: Documents
) -> None:
    claim = triggered(store)
    ended = at_once(lambda _: opened(database).reaper.reap(60_000), range(6))
    assert len([*filter(None, ended)]) == 1
    export = store.get(claim.export_id)
    assert (export.status, export.attempt, codes(export)) == (PENDING, 2, [(1, "FAILED", "WorkerLost")])
    assert store.reaper.reap(60_000) is None


def test_the_lost_worker_can_do_nothing_any_more_and_what_it_left_is_cleaned_up(store: ExportRepository) -> None:
    claim = triggered(store)
    store.claimed(claim).note_keys("bucket", ["a.csv"])
    store.reaper.reap(60_000)
    for write in (
        lambda: store.claimed(claim).check_fence(),
        lambda: store.claimed(claim).finish(DELIVERED),
        lambda: store.claimed(claim).fail(WorkerLost("x").as_dict()),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert store.claimed(claim).end_by(DeliveryFailed("late")).attempt == 2, "it ends what was ended"
    (cleanup,) = store.reaper.pending_cleanups()
    assert [attempt.keys for attempt in cleanup.export.attempts] == [("a.csv",)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SourceUnavailable("gone"), PENDING),
        (DeliveryFailed("503"), PENDING),
        (SourceMissing("no such collection"), FAILED),
        (DeliveryRefused("403"), FAILED),
        (ValueError("a bug"), FAILED),
        (ExportExpired("late"), EXPIRED),
        (KeyboardInterrupt(), CANCELED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_passing_faults_are_tried_again(
    store: ExportRepository, error: BaseException, status: ExportStatus
) -> None:
    """Also where a permanent one goes by the same code."""
    claim = triggered(store)
    export = store.claimed(claim).end_by(error)
    assert (export.status, export.attempt) == (status, 2 if status is PENDING else 1)


def test_what_somebody_wants_to_be_cancelled_is_not_tried_again(store: ExportRepository) -> None:
    claim = triggered(store)
    store.request_cancel(claim.export_id)
    assert store.claimed(claim).end_by(DeliveryFailed("503")).status is FAILED
    lost = triggered(store)
    store.request_cancel(lost.export_id)
    store.reaper.reap(60_000)
    assert store.get(lost.export_id).status is CANCELED


@pytest.mark.parametrize(
    ("code", "is_transient", "attempt"), [("SourceUnavailable", True, 2), ("DeliveryFailed", False, 1)]
)
def test_the_end_of_a_run_that_could_not_record_it_is_followed_too_and_once(
    store: ExportRepository, code: str, is_transient: bool, attempt: int
) -> None:
    claim = triggered(store)
    error = {"code": code, "message": "it was away", "payload": None}
    end = RunEnd(
        run_id=claim.run_id,
        export_id=claim.export_id,
        requested_attempt=1,
        message="the run failed",
        failed_by_itself=True,
        error=error,
        is_transient=is_transient,
    )
    assert record_run_end(store, end) == (FAILED, code)
    assert record_run_end(store, end) is None
    export = store.get(claim.export_id)
    assert (export.attempt, codes(export)) == (attempt, [(1, "FAILED", code)])


def test_a_run_that_is_gone_is_followed_by_the_next_attempt(store: ExportRepository) -> None:
    claim = triggered(store)
    end = RunEnd(run_id=claim.run_id, export_id=claim.export_id, requested_attempt=1, message="its process is gone")
    assert record_run_end(store, end) == (FAILED, "WorkerLost")
    assert (store.get(claim.export_id).status, store.get(claim.export_id).attempt) == (PENDING, 2)


def test_until_its_time_has_come_it_is_passed_over_but_whoever_wants_it_gets_it(
    store: ExportRepository, database: Documents
) -> None:
    later = opened(database, LATER)
    lost = triggered(later)
    younger = queued(later)
    later.reaper.reap(60_000)
    assert [export.id for export in store.pending(10)] == [younger.id]
    same = later.get(lost.export_id)
    wanted = new_export(campaign_id=same.campaign_id)
    assert store.request(wanted) == (same, False), "it is the active one (L3)"
    turn = Turn(later, "cli-1", WaitPolicy(0.01, 60_000, most_seconds=0), lambda _: None)
    with pytest.raises(QueueBusy, match=r"attempt 1 FAILED \(WorkerLost\); the next one begins after \d{4}-"):
        turn.claim_oldest_first(same.id)
    place = Estimator(later).estimate(same)
    assert place is not None
    assert place.reason == same.retry_reason
    assert 500 < place.starts_in_seconds <= 600
    _let_it_be_due(database, same)
    assert [export.id for export in store.pending(10)] == [same.id, younger.id], "in its old place"
    assert turn.claim_oldest_first(same.id)[0].attempt == 2
    assert later.claimed(later.claim(same.id, "cli-1")[0]).end_by(DeliveryFailed("503")).status is PENDING
    assert later.claim(same.id, "run-by-hand")[0].attempt == 3, "a person need not wait"


def _let_it_be_due(database: Documents, export: Export) -> None:
    database.exports.update_one({"_id": ObjectId(export.id)}, {"$set": {"retryAt": datetime(2020, 1, 1, tzinfo=UTC)}})


def test_each_pause_is_four_times_the_one_before_and_bounded(store: ExportRepository, database: Documents) -> None:
    patient = opened(database, AutoRetries(5, 60))
    export = queued(patient)
    pauses: list[timedelta] = []
    for number in range(4):
        patient.claim(export.id, f"run-{number}")
        patient.reaper.reap(60_000)
        found = patient.get(export.id)
        assert found.retry_at is not None
        assert found.attempts[-1].ended is not None
        pauses.append(found.retry_at - found.attempts[-1].ended)
    assert pauses == [timedelta(seconds=seconds) for seconds in (60, 240, 900, 900)]


def test_callers_of_the_api_see_each_attempt(settings: Settings, store: ExportRepository, database: Documents) -> None:
    claim = triggered(opened(database, LATER))
    with running_api(settings) as api:
        export = store.get(claim.export_id)
        path, token = f"/campaigns/{export.campaign_id}/exports", api.token("*")
        assert "attempts" not in api.get(f"{path}/{export.id}", token=token).json()
        opened(database, LATER).reaper.reap(60_000)
        shown = api.get(f"{path}/{export.id}", token=token).json()
        assert "attempts" not in api.get(path, token=token).json()[0]
    assert (shown["status"], shown["attempt"]) == ("PENDING", 2)
    (first,) = shown["attempts"]
    assert (first["attempt"], first["status"], first["error"]["code"]) == (1, "FAILED", "WorkerLost")
    assert {"triggered", "ended"} < first.keys()
    assert VfexportError.hint != first["error"]["hint"]
    assert shown["queue"]["reason"].startswith("attempt 1 FAILED (WorkerLost)")
    assert "error" not in shown
