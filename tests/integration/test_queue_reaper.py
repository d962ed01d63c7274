"""Leases, cancelling, and exports whose worker is late or gone, on the real queue."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.api_client import wait_for
from tests.integration.queue_helpers import DELIVERED, ERROR, in_processes, queued, triggered
from vfexport_core.errors import ExportNotCancelable, ExportNotClaimable, ExportNotFound, LeaseLost, QueueBusy
from vfexport_core.queue.collection import ExportCollection
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.repository import ExportRepository

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer

    Documents = Database[dict[str, Any]]

TIMEOUT = 60_000


@pytest.fixture
def store(database: Documents) -> ExportRepository:
    store = ExportRepository(database, lease_seconds=600)
    store.initialise()
    return store


@pytest.fixture
def brief(store: ExportRepository, database: Documents) -> ExportRepository:
    """The same queue, whose leases have run out as soon as they are given."""
    return ExportRepository(database, lease_seconds=0)


def test_a_claim_has_a_lease_that_every_sign_of_life_renews(store: ExportRepository, database: Documents) -> None:
    claim = triggered(store)
    for renew in (lambda: store.claimed(claim).check_fence(), lambda: store.claimed(claim).progress(1, 1, 1)):
        database.exports.update_one({}, {"$unset": {"leaseUntil": ""}})
        export = renew()
        assert export.lease_until is not None
        assert export.progress is not None
        assert export.progress.updated is not None
        assert (export.lease_until - export.progress.updated).total_seconds() == 600
    assert store.reaper.reap(TIMEOUT) is None


def test_a_worker_that_is_not_heard_of_loses_its_export(store: ExportRepository, brief: ExportRepository) -> None:
    claim = triggered(brief)
    ended = store.reaper.reap(TIMEOUT)
    assert ended == store.get(claim.export_id)
    assert ended is not None
    assert ended.status is ExportStatus.FAILED
    assert ended.error is not None
    assert (ended.error["code"], ended.error["payload"]) == ("WorkerLost", claim.run_id)
    assert ended.attempts[-1].status is ExportStatus.FAILED
    assert store.reaper.reap(TIMEOUT) is None
    with pytest.raises(LeaseLost):
        brief.claimed(claim).check_fence()
    assert triggered(store).attempt == 1, "the queue goes on"


def test_an_export_expires_by_the_time_since_it_was_triggered_however_alive_its_worker_is(
    store: ExportRepository,
) -> None:
    claim = triggered(store)
    expired = wait_for(lambda: store.claimed(claim).check_fence() and store.reaper.reap(1))
    assert expired.status is ExportStatus.EXPIRED
    assert expired.error["code"] == "ExportExpired"
    assert expired.date.expired == expired.attempts[-1].ended


def test_a_lost_worker_of_a_cancelled_export_leaves_it_cancelled(
    store: ExportRepository, brief: ExportRepository
) -> None:
    claim = triggered(brief)
    store.request_cancel(claim.export_id)
    ended = store.reaper.reap(TIMEOUT)
    assert ended is not None
    assert (ended.status, ended.error) == (ExportStatus.CANCELED, None)


def look_then(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen between a reaper's look and what it does about it."""
    look = ExportCollection.find_with_now

    def look_and_let_happen(*arguments: Any, **options: Any) -> Any:
        found = look(*arguments, **options)
        happens()
        return found

    monkeypatch.setattr(ExportCollection, "find_with_now", look_and_let_happen)


def test_a_worker_that_is_heard_of_while_somebody_decides_keeps_its_export(
    store: ExportRepository, brief: ExportRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = triggered(brief)
    look_then(monkeypatch, lambda: store.claimed(claim).check_fence())
    assert store.reaper.reap(TIMEOUT) is None
    assert store.get(claim.export_id).status is ExportStatus.TRIGGERED


def test_a_cancel_that_comes_while_somebody_decides_is_kept(
    store: ExportRepository, brief: ExportRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked was told that the export would be cancelled: it must not end as FAILED."""
    claim = triggered(brief)
    look_then(monkeypatch, lambda: store.request_cancel(claim.export_id))
    assert store.reaper.reap(TIMEOUT) is None
    ended = store.reaper.reap(TIMEOUT)
    assert ended is not None
    assert ended.status is ExportStatus.CANCELED


def _reap(store: ExportRepository, number: int, _: Any) -> str | None:
    ended = store.reaper.reap(TIMEOUT)
    return None if ended is None else ended.id


def test_many_reapers_end_an_export_once(
    store: ExportRepository, brief: ExportRepository, database: Documents, mongo_server: MongoServer
) -> None:
    claim = triggered(brief)
    answers = in_processes(_reap, mongo_server.uri, database.name, [[0] * 6] * 2)
    assert [answer for answer in answers if answer] == [claim.export_id]
    assert len(store.get(claim.export_id).attempts) == 1


def test_what_lost_attempts_left_is_to_be_cleaned_up_twice(store: ExportRepository, brief: ExportRepository) -> None:
    claim = triggered(brief)
    store.claimed(claim).note_keys("exportsS3", ["k"])
    assert store.reaper.pending_cleanups() == []
    brief.claimed(claim).check_fence()
    store.reaper.reap(TIMEOUT)
    (first,) = store.reaper.pending_cleanups()
    assert [attempt.keys for attempt in first.export.attempts if attempt.is_lost] == [("k",)]
    assert not store.reaper.note_cleaned(first)
    assert store.reaper.pending_cleanups() == [], "until nothing can be under way any more"
    assert not store.reaper.note_cleaned(first, 0), "what another reaper did is not undone"
    again = replace(first, due=store._exports.find_with_now({}, 1)[0][2])
    assert store.reaper.note_cleaned(again, 0)
    assert store.get(claim.export_id).attempts[0].cleaned
    assert store.reaper.pending_cleanups() == []


def test_a_lost_attempt_is_watched_for_as_long_as_s3_may_work_on_its_request(
    store: ExportRepository, database: Documents
) -> None:
    claim = triggered(store)
    store.claimed(claim).note_keys("exportsS3", ["k"])
    store.claimed(claim).fail(ERROR, drained=False)
    for minutes, is_final in ((10, False), (16, True)):
        ended = {"$subtract": ["$$NOW", minutes * 60_000]}
        attempts = {"$map": {"input": "$attempts", "in": {"$mergeObjects": ["$$this", {"ended": ended}]}}}
        database.exports.update_one({}, [{"$set": {"attempts": attempts, "cleanupDue": ended}}])
        (cleanup,) = store.reaper.pending_cleanups()
        assert store.reaper.note_cleaned(cleanup) is is_final


def test_a_retry_does_not_forget_what_is_to_be_cleaned_up(store: ExportRepository) -> None:
    claim = triggered(store)
    store.claimed(claim).note_keys("exportsS3", ["k"])
    store.claimed(claim).fail(ERROR)
    store.retry(claim.export_id)
    (cleanup,) = store.reaper.pending_cleanups()
    second, _ = store.claim(claim.export_id, "run-2")
    assert store.reaper.note_cleaned(cleanup, 0)
    export = store.get(claim.export_id)
    assert [attempt.cleaned for attempt in export.attempts] == [True, False]
    assert store.claimed(second).finish(DELIVERED).attempts[0].cleaned


class TestCancel:
    def test_pending_at_once(self, store: ExportRepository) -> None:
        export = queued(store)
        cancelled = store.request_cancel(export.id, export.campaign_id)
        assert cancelled.status is ExportStatus.CANCELED
        (attempt,) = cancelled.attempts
        assert (attempt.attempt, attempt.status, attempt.run_id) == (1, ExportStatus.CANCELED, None)
        assert attempt.ended == cancelled.date.canceled
        with pytest.raises(ExportNotClaimable):
            store.claim(export.id, "run-1")

    def test_triggered_by_its_run_at_its_next_sign_of_life(self, store: ExportRepository) -> None:
        claim = triggered(store)
        asked = store.request_cancel(claim.export_id)
        assert asked.status is ExportStatus.TRIGGERED
        assert store.request_cancel(claim.export_id) == asked, "pressed twice"
        assert store.claimed(claim).check_fence().cancel_requested == asked.cancel_requested is not None
        store.claimed(claim).cancel()
        retried = store.retry(claim.export_id)
        assert retried.cancel_requested is retried.lease_until is None

    def test_an_export_that_finishes_first_stays_finished(self, store: ExportRepository) -> None:
        claim = triggered(store)
        store.request_cancel(claim.export_id)
        assert store.claimed(claim).finish(DELIVERED).status is ExportStatus.FINISHED

    @pytest.mark.parametrize("end", ["finish", "fail", "expire", "cancel"])
    def test_what_has_ended_cannot_be_cancelled(self, store: ExportRepository, end: str) -> None:
        claim = triggered(store)
        arguments = {"finish": [DELIVERED], "fail": [ERROR]}.get(end, [])
        ended = getattr(store.claimed(claim), end)(*arguments)
        with pytest.raises(ExportNotCancelable, match=ended.status):
            store.request_cancel(claim.export_id)
        assert store.get(claim.export_id) == ended

    def test_unknown_ones_and_those_of_other_campaigns(self, store: ExportRepository) -> None:
        export = queued(store)
        for arguments in [("0" * 24,), ("nonsense",), (export.id, "0" * 24)]:
            with pytest.raises(ExportNotFound):
                store.request_cancel(*arguments)
        assert store.get(export.id) == export

    def test_by_two_people_at_once(
        self, store: ExportRepository, database: Documents, mongo_server: MongoServer
    ) -> None:
        export = queued(store)
        answers = in_processes(_cancel, mongo_server.uri, database.name, [[export.id] * 5] * 2)
        assert set(answers) <= {"CANCELED", "ExportNotCancelable"}
        assert "CANCELED" in answers
        assert len(store.get(export.id).attempts) == 1


def _cancel(store: ExportRepository, number: int, export_id: str) -> str:
    try:
        return store.request_cancel(export_id).status.value
    except ExportNotCancelable as error:
        return error.code


class TestClaimingAgain:
    @pytest.mark.parametrize("end", ["finish", "fail", "expire", "cancel"])
    def test_whatever_has_ended_is_started_and_claimed_at_once(self, store: ExportRepository, end: str) -> None:
        claim = triggered(store)
        ended = getattr(store.claimed(claim), end)(*{"finish": [DELIVERED], "fail": [ERROR]}.get(end, []))
        again, export = store.claim_again(claim.export_id, "run-2", 1)
        assert (again.attempt, export.status, export.run_id) == (2, ExportStatus.TRIGGERED, "run-2")
        assert export.attempts[:1] == ended.attempts
        assert export.attempts[1].run_id == "run-2"
        assert (export.keys, export.error, export.count) == ((), None, None)
        assert store.claim_again(claim.export_id, "run-2", 1) == (again, export), "the answer may have been lost"
        with pytest.raises(ExportNotClaimable, match="attempt 2"):
            store.claim_again(claim.export_id, "run-3", 1)

    def test_what_is_active_is_left_alone(self, store: ExportRepository) -> None:
        pending = queued(store)
        with pytest.raises(ExportNotClaimable, match="PENDING"):
            store.claim_again(pending.id, "run-1", 1)
        claim, export = store.claim(pending.id, "run-1")
        with pytest.raises(ExportNotClaimable, match="TRIGGERED"):
            store.claim_again(pending.id, "run-2", 1)
        assert store.get(claim.export_id) == export

    def test_it_waits_for_its_turn_as_it_is(self, store: ExportRepository) -> None:
        claim = triggered(store)
        failed = store.claimed(claim).fail(ERROR)
        running = triggered(store)
        with pytest.raises(QueueBusy, match=running.export_id):
            store.claim_again(claim.export_id, "run-2", 1)
        assert store.get(claim.export_id) == failed

    def test_an_equal_export_in_the_queue_is_in_the_way(self, store: ExportRepository) -> None:
        claim = triggered(store)
        failed = store.claimed(claim).fail(ERROR)
        equal = queued(store, campaign_id=failed.campaign_id)
        for state in ("PENDING", "TRIGGERED"):
            with pytest.raises(ExportNotClaimable, match=f"{equal.id}.*{state}"):
                store.claim_again(claim.export_id, "run-2", 1)
            if state == "PENDING":
                store.claim(equal.id, "run-3")
        assert store.get(claim.export_id) == failed
