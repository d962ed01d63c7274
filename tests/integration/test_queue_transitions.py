from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from tests.commands import Commands
from tests.integration.queue_helpers import DELIVERED, ERROR, SHA, in_processes, new_export, queued, triggered
from vfexport_core.errors import ExportNotClaimable, ExportNotFound, ExportNotRetryable, LeaseLost, QueueBusy
from vfexport_core.queue import transitions
from vfexport_core.queue.models import RETRYABLE, Claim, Delivered, ExportStatus
from vfexport_core.queue.repository import ExportRepository

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer

    Documents = Database[dict[str, Any]]


FENCED: dict[str, Callable[[ExportRepository, Claim], Any]] = {
    "set_count": lambda store, claim: store.claimed(claim).set_count(5),
    "progress": lambda store, claim: store.claimed(claim).progress(10, 9, 100),
    "note_keys": lambda store, claim: store.claimed(claim).note_keys("exportsS3", ["k"]),
    "confirm": lambda store, claim: store.claimed(claim).check_fence(),
    "finish": lambda store, claim: store.claimed(claim).finish(DELIVERED),
    "fail": lambda store, claim: store.claimed(claim).fail(ERROR),
    "expire": lambda store, claim: store.claimed(claim).expire(),
    "cancel": lambda store, claim: store.claimed(claim).cancel(),
}


@pytest.fixture
def store(database: Documents) -> ExportRepository:
    store = ExportRepository(database)
    store.initialise()
    return store


def snapshot(database: Documents) -> list[dict[str, Any]]:
    return list(database.exports.find().sort("_id"))


def test_a_claim_triggers_and_opens_an_attempt(store: ExportRepository) -> None:
    pending = queued(store)
    claim, export = store.claim(pending.id, "$run")
    assert claim == Claim(pending.id, 1, "$run")
    assert (export.status, export.run_id) == (ExportStatus.TRIGGERED, "$run")
    assert export.date.created == pending.date.created
    assert export.date.triggered is not None
    assert export.progress is not None
    assert (export.progress.read, export.progress.rows, export.progress.bytes) == (0, 0, 0)
    (attempt,) = export.attempts
    assert (attempt.attempt, attempt.status, attempt.run_id) == (1, ExportStatus.TRIGGERED, "$run")
    assert attempt.triggered == export.date.triggered == export.progress.updated
    assert attempt.ended is None
    assert store.get(pending.id) == export


def test_the_same_run_may_claim_again(store: ExportRepository) -> None:
    pending = queued(store)
    first = store.claim(pending.id, "run-1")
    assert store.claim(pending.id, "run-1") == first
    assert store.claim(pending.id, "run-1", attempt=1) == first


def test_another_process_of_the_same_run_may_not(store: ExportRepository, database: Documents) -> None:
    """Dagster may start a run twice: only one process may write, and take away, the files of an attempt."""
    claim, _ = store.claim(queued(store).id, "run-1")
    twin = ExportRepository(database)
    before = snapshot(database)
    with pytest.raises(QueueBusy, match="another process of this run"):
        twin.claim(claim.export_id, "run-1", attempt=1)
    assert snapshot(database) == before
    store.claimed(claim).fail(ERROR)
    again, _ = store.claim_again(claim.export_id, "run-2", 1)
    with pytest.raises(QueueBusy, match="another process of this run"):
        twin.claim_again(claim.export_id, "run-2", 1)
    assert store.claim_again(claim.export_id, "run-2", 1)[0] == again


class Then(Commands):
    """Does something once, right after the answer to the first `find`."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self.action: Callable[[], object] | None = action

    def succeeded(self, event: Any) -> None:
        if event.command_name == "find" and self.action is not None:
            action, self.action = self.action, None
            action()


def test_why_a_claim_is_refused_is_told_from_one_look(
    store: ExportRepository, database: Documents, mongo_server: MongoServer
) -> None:
    """An export that ends in that moment is not held by "another process"."""
    ending: list[Claim] = []
    listener = Then(lambda: store.claimed(ending[0]).finish(DELIVERED))
    with MongoClient[dict[str, Any]](mongo_server.uri, event_listeners=[listener]) as client:
        heard = ExportRepository(client[database.name])
        ending.append(heard.claim(queued(store).id, "run-1")[0])
        with pytest.raises(ExportNotClaimable, match="TRIGGERED, in attempt 1"):
            heard.claim(ending[0].export_id, "run-1", attempt=0)
    assert store.get(ending[0].export_id).status is ExportStatus.FINISHED


def test_another_run_may_not(store: ExportRepository, database: Documents) -> None:
    pending = queued(store)
    store.claim(pending.id, "run-1")
    before = snapshot(database)
    with pytest.raises(ExportNotClaimable, match="TRIGGERED"):
        store.claim(pending.id, "run-2")
    assert snapshot(database) == before


def test_a_run_of_an_earlier_attempt_does_not_take_a_later_one(store: ExportRepository) -> None:
    pending = queued(store)
    assert store.close_run(pending.id, "run-1", ExportStatus.CANCELED, None, attempt=1)
    store.retry(pending.id)
    with pytest.raises(ExportNotClaimable, match="attempt 2"):
        store.claim(pending.id, "run-1", attempt=1)
    claim, _ = store.claim(pending.id, "run-2", attempt=2)
    assert claim.attempt == 2


def test_one_is_triggered_at_a_time(store: ExportRepository) -> None:
    running = triggered(store)
    waiting = queued(store)
    with pytest.raises(QueueBusy, match=running.export_id) as caught:
        store.claim(waiting.id, "run-2")
    assert caught.value.payload == running.export_id
    assert store.get(waiting.id) == waiting
    store.claimed(running).finish(DELIVERED)
    assert store.claim(waiting.id, "run-2")[0] == Claim(waiting.id, 1, "run-2")


def test_an_export_that_ended_or_does_not_exist_cannot_be_claimed(store: ExportRepository) -> None:
    claim = triggered(store)
    store.claimed(claim).fail(ERROR)
    with pytest.raises(ExportNotClaimable, match="FAILED"):
        store.claim(claim.export_id, "run-1")
    for export_id in ("0" * 24, "nonsense"):
        with pytest.raises(ExportNotFound):
            store.claim(export_id, "run-1")


def _claim(store: ExportRepository, number: int, export_id: str) -> str | None:
    try:
        return store.claim(export_id, f"run-{number}")[0].export_id
    except QueueBusy:
        return None


def test_50_concurrent_claims_of_50_exports_trigger_one(
    store: ExportRepository, database: Documents, mongo_server: MongoServer
) -> None:
    ids = [queued(store).id for _ in range(50)]
    answers = in_processes(_claim, mongo_server.uri, database.name, [ids[:17], ids[17:34], ids[34:]])
    (winner,) = [answer for answer in answers if answer]
    assert len(answers) == 50
    assert [str(found["_id"]) for found in database.exports.find({"status": "TRIGGERED"})] == [winner]
    assert database.exports.count_documents({"status": "PENDING"}) == 49


def _claim_same(store: ExportRepository, number: int, export_id: str) -> int | None:
    try:
        return number if store.claim(export_id, f"run-{number}") else None
    except ExportNotClaimable:
        return None


def test_concurrent_claims_of_one_export_are_won_by_one_run(
    store: ExportRepository, database: Documents, mongo_server: MongoServer
) -> None:
    export_id = queued(store).id
    answers = in_processes(_claim_same, mongo_server.uri, database.name, [[export_id] * 10] * 3)
    (winner,) = [answer for answer in answers if answer is not None]
    export = store.get(export_id)
    assert export.run_id == f"run-{winner}"
    assert len(export.attempts) == 1


def test_what_a_run_reports_on_its_way(store: ExportRepository) -> None:
    claim = triggered(store)
    started = store.get(claim.export_id)
    store.claimed(claim).set_count(1_000)
    store.claimed(claim).progress(10, 9, 5_000_000_000)
    store.claimed(claim).note_keys("exportsS3", ["$a", "b"])
    store.claimed(claim).note_keys("exportsS3", ["b", "c"])
    store.claimed(claim).check_fence()
    export = store.get(claim.export_id)
    assert export.status is ExportStatus.TRIGGERED
    assert export.count == 1_000
    assert export.progress is not None
    assert started.progress is not None
    assert (export.progress.read, export.progress.rows, export.progress.bytes) == (10, 9, 5_000_000_000)
    assert export.progress.updated is not None
    assert started.progress.updated is not None
    assert export.progress.updated >= started.progress.updated
    assert export.attempts[0] == replace(started.attempts[0], bucket="exportsS3", keys=("$a", "b", "c"))
    assert (export.bucket, export.keys) == (None, ())


def test_a_finished_export_has_read_all_that_it_was_made_of(store: ExportRepository) -> None:
    claim = triggered(store)
    store.claimed(claim).progress(4, 3, 30)  # the last that a heartbeat told; a short run is over before the first
    export = store.claimed(claim).finish(replace(DELIVERED, meta={"read": 9}))
    assert export.progress is not None
    assert (export.progress.read, export.progress.rows, export.progress.bytes) == (9, 7, 70)


def test_a_finished_export_says_what_was_delivered(store: ExportRepository) -> None:
    claim = triggered(store)
    store.claimed(claim).note_keys(DELIVERED.bucket, DELIVERED.keys)
    store.claimed(claim).progress(8, 6, 60)
    export = store.claimed(claim).finish(DELIVERED)
    assert export == store.get(claim.export_id)
    assert (export.status, export.run_id, export.bucket, export.keys) == (
        ExportStatus.FINISHED,
        "run-1",
        "exportsS3",
        ("c/entries/x.csv",),
    )
    assert (export.count, export.bytes, export.sha256, export.meta) == (
        7,
        70,
        {"c/entries/x.csv": SHA},
        {"warnings": {"unknown": 2}},
    )
    assert export.progress is not None
    assert (export.progress.read, export.progress.rows, export.progress.bytes) == (8, 7, 70)
    assert export.date.finished == export.attempts[0].ended
    assert export.attempts[0].status is ExportStatus.FINISHED
    assert export.attempts[0].keys == DELIVERED.keys
    assert export.date.triggered is not None


@pytest.mark.parametrize("keys", [(), ("a", "b")])
def test_any_number_of_files_can_be_delivered(store: ExportRepository, keys: tuple[str, ...]) -> None:
    delivered = Delivered(bucket="sfmcS3", keys=keys, rows=0, bytes=0, sha256=(SHA,) * len(keys))
    export = store.claimed(triggered(store)).finish(delivered)
    assert (export.keys, export.sha256) == (keys, dict.fromkeys(keys, SHA))


def test_a_failed_export_says_why(store: ExportRepository) -> None:
    claim = triggered(store)
    export = store.claimed(claim).fail({"code": "$x", "message": "$$ROOT", "payload": "p", "stack": "secret"})
    error = {"code": "$x", "message": "$$ROOT", "payload": "p"}
    assert (export.status, export.error) == (ExportStatus.FAILED, error)
    assert (export.attempts[0].status, export.attempts[0].error) == (ExportStatus.FAILED, error)
    assert export.date.failed == export.attempts[0].ended is not None
    assert store.get(claim.export_id) == export


@pytest.mark.parametrize("status", ["EXPIRED", "CANCELED"])
def test_an_export_can_expire_and_be_cancelled(store: ExportRepository, status: str) -> None:
    claim = triggered(store)
    claimed = store.claimed(claim)
    export = claimed.expire() if status == "EXPIRED" else claimed.cancel()
    assert (export.status, export.error) == (status, None)
    assert export.attempts[0].status == status
    moment = export.date.expired if status == "EXPIRED" else export.date.canceled
    assert moment == export.attempts[0].ended is not None


@pytest.mark.parametrize("name", FENCED)
@pytest.mark.parametrize("wrong", ["run id", "attempt", "export"])
def test_whoever_does_not_own_the_export_changes_nothing(
    store: ExportRepository, database: Documents, name: str, wrong: str
) -> None:
    claim = triggered(store)
    others = {
        "run id": replace(claim, run_id="run-2"),
        "attempt": replace(claim, attempt=2),
        "export": replace(claim, export_id=str(ObjectId())),
    }
    before = snapshot(database)
    with pytest.raises(LeaseLost) as caught:
        FENCED[name](store, others[wrong])
    assert caught.value.payload == others[wrong].export_id
    assert snapshot(database) == before


ENDS: dict[str, Callable[[ExportRepository, Claim], Any]] = {
    "PENDING": lambda store, claim: (store.claimed(claim).fail(ERROR), store.retry(claim.export_id)),
    "FINISHED": FENCED["finish"],
    "FAILED": FENCED["fail"],
    "EXPIRED": FENCED["expire"],
    "CANCELED": FENCED["cancel"],
    "next attempt": lambda store, claim: (
        store.claimed(claim).expire(),
        store.retry(claim.export_id),
        store.claim(claim.export_id, claim.run_id),
    ),
}
REPETITIONS = {"finish": "FINISHED", "fail": "FAILED", "expire": "EXPIRED", "cancel": "CANCELED"}


@pytest.mark.parametrize("name", FENCED)
@pytest.mark.parametrize("state", ENDS)
def test_a_run_that_lost_its_export_changes_nothing(
    store: ExportRepository, database: Documents, name: str, state: str
) -> None:
    claim = triggered(store)
    ENDS[state](store, claim)
    before = snapshot(database)
    if REPETITIONS.get(name) == state:
        # The answer to the first may have been lost: saying the same again is no error, and changes nothing.
        assert FENCED[name](store, claim) == store.get(claim.export_id)
    else:
        with pytest.raises(LeaseLost, match=claim.export_id):
            FENCED[name](store, claim)
    assert snapshot(database) == before


def test_the_end_of_a_run_closes_what_it_held(store: ExportRepository) -> None:
    claim = triggered(store)
    assert store.close_run(claim.export_id, "run-1", ExportStatus.CANCELED, ERROR)
    export = store.get(claim.export_id)
    assert (export.status, export.error) == (ExportStatus.CANCELED, ERROR)
    assert [(a.status, a.run_id, a.error) for a in export.attempts] == [(ExportStatus.CANCELED, "run-1", ERROR)]
    assert export.attempts[0].ended == export.date.canceled


def test_the_end_of_a_run_that_never_claimed_closes_the_pending_attempt(store: ExportRepository) -> None:
    pending = queued(store)
    assert not store.close_run(pending.id, "run-1", ExportStatus.FAILED, ERROR)
    assert not store.close_run(pending.id, "run-1", ExportStatus.FAILED, ERROR, attempt=2)
    assert store.get(pending.id) == pending
    assert store.close_run(pending.id, "run-1", ExportStatus.FAILED, ERROR, attempt=1)
    export = store.get(pending.id)
    assert (export.status, export.error) == (ExportStatus.FAILED, ERROR)
    (attempt,) = export.attempts
    assert (attempt.attempt, attempt.run_id, attempt.triggered) == (1, "run-1", None)
    assert (attempt.status, attempt.ended) == (ExportStatus.FAILED, export.date.failed)


@pytest.mark.parametrize("attempt", [None, 1])
def test_the_end_of_another_run_or_of_one_that_is_over_changes_nothing(
    store: ExportRepository, database: Documents, attempt: int | None
) -> None:
    claim = triggered(store)
    before = snapshot(database)
    assert not store.close_run(claim.export_id, "run-2", ExportStatus.FAILED, ERROR, attempt)
    assert snapshot(database) == before
    store.claimed(claim).finish(DELIVERED)
    before = snapshot(database)
    assert not store.close_run(claim.export_id, "run-1", ExportStatus.FAILED, ERROR, attempt)
    assert not store.close_run(str(ObjectId()), "run-1", ExportStatus.FAILED, ERROR, attempt)
    assert snapshot(database) == before


@pytest.mark.parametrize("status", sorted(set(ExportStatus) - RETRYABLE))
def test_a_run_that_ended_badly_cannot_close_its_export_well(store: ExportRepository, status: ExportStatus) -> None:
    claim = triggered(store)
    with pytest.raises(ValueError, match=status.value):
        store.close_run(claim.export_id, "run-1", status, None)


def test_a_retry_is_a_new_attempt_of_the_same_document_and_keeps_the_old_ones(store: ExportRepository) -> None:
    claim = triggered(store)
    store.claimed(claim).set_count(100)
    store.claimed(claim).note_keys("exportsS3", ["first"])
    failed = store.claimed(claim).fail(ERROR)
    pending = store.retry(claim.export_id, failed.campaign_id)
    assert (pending.status, pending.attempt, pending.date.created) == (ExportStatus.PENDING, 2, failed.date.created)
    assert pending.attempts == failed.attempts
    assert pending.date == replace(failed.date, triggered=None, failed=None)
    assert (pending.run_id, pending.error, pending.count, pending.progress) == (None, None, None, None)
    second, _ = store.claim(claim.export_id, "run-2")
    assert second == Claim(claim.export_id, 2, "run-2")
    store.claimed(second).note_keys("exportsS3", ["second"])
    store.claimed(second).expire()
    store.retry(claim.export_id)
    third, _ = store.claim(claim.export_id, "run-3")
    finished = store.claimed(third).finish(DELIVERED)
    assert [(a.attempt, a.run_id, a.status, a.keys) for a in finished.attempts] == [
        (1, "run-1", ExportStatus.FAILED, ("first",)),
        (2, "run-2", ExportStatus.EXPIRED, ("second",)),
        (3, "run-3", ExportStatus.FINISHED, ()),
    ]
    assert finished.attempts[0] == failed.attempts[0]
    assert (finished.error, finished.date.failed, finished.date.expired) == (None, None, None)


def test_a_finished_export_is_delivered_again_only_when_asked_for(store: ExportRepository) -> None:
    claim = triggered(store)
    finished = store.claimed(claim).finish(DELIVERED)
    with pytest.raises(ExportNotRetryable, match="FINISHED"):
        store.retry(claim.export_id)
    assert store.get(claim.export_id) == finished
    again = store.retry(claim.export_id, redeliver=True)
    assert (again.status, again.attempt) == (ExportStatus.PENDING, 2)
    assert (again.bucket, again.keys, again.bytes, again.sha256, again.meta) == (None, (), None, {}, None)
    assert again.attempts == finished.attempts


def test_active_exports_and_those_of_others_cannot_be_retried(store: ExportRepository) -> None:
    pending = queued(store)
    with pytest.raises(ExportNotRetryable, match="PENDING"):
        store.retry(pending.id)
    store.claim(pending.id, "run-1")
    with pytest.raises(ExportNotRetryable, match="TRIGGERED"):
        store.retry(pending.id, redeliver=True)
    with pytest.raises(ExportNotFound):
        store.retry(pending.id, str(ObjectId()))


def test_a_retry_does_not_double_an_active_export(store: ExportRepository) -> None:
    new = new_export()
    first, _ = store.request(new)
    failed = store.claimed(store.claim(first.id, "run-1")[0]).fail(ERROR)
    store.request(new)
    with pytest.raises(ExportNotRetryable, match="another export"):
        store.retry(first.id)
    assert store.get(first.id) == failed


def test_a_retry_that_saw_an_earlier_attempt_changes_nothing(store: ExportRepository, database: Documents) -> None:
    """Somebody pressed the button late: what was seen as failed was retried, and failed again, meanwhile."""
    claim = triggered(store)
    store.claimed(claim).fail(ERROR)
    store.retry(claim.export_id)
    store.claimed(store.claim(claim.export_id, "run-2")[0]).fail(ERROR)
    before = snapshot(database)
    assert store._exports.apply(transitions.retry(ObjectId(claim.export_id), 1, redeliver=False)) is None
    assert snapshot(database) == before


def _retry(store: ExportRepository, number: int, export_id: str) -> int | None:
    try:
        return store.retry(export_id).attempt
    except ExportNotRetryable:
        return None


def test_concurrent_retries_start_one_attempt(
    store: ExportRepository, database: Documents, mongo_server: MongoServer
) -> None:
    claim = triggered(store)
    store.claimed(claim).fail(ERROR)
    answers = in_processes(_retry, mongo_server.uri, database.name, [[claim.export_id] * 8] * 3)
    assert {answer for answer in answers if answer is not None} == {2}
    assert store.get(claim.export_id).attempt == 2


def _end(store: ExportRepository, number: int, claim: Claim) -> str | None:
    ends = ["finish", "fail", "expire", "cancel"]
    try:
        FENCED[ends[number % 4]](store, claim)
    except LeaseLost:
        return None
    return ends[number % 4]


def test_of_concurrent_ends_one_wins(store: ExportRepository, database: Documents, mongo_server: MongoServer) -> None:
    claim = triggered(store)
    answers = in_processes(_end, mongo_server.uri, database.name, [[claim] * 8] * 3)
    winners = {answer for answer in answers if answer}
    assert len(winners) == 1
    export = store.get(claim.export_id)
    assert REPETITIONS[winners.pop()] == export.status == export.attempts[0].status
    assert len(export.attempts) == 1
    ended = [export.date.finished, export.date.failed, export.date.expired, export.date.canceled]
    assert sum(moment is not None for moment in ended) == 1


def test_keys_are_taken_by_other_exports_only(store: ExportRepository) -> None:
    campaign_id = str(ObjectId())
    first = triggered(store, campaign_id=campaign_id)
    store.claimed(first).note_keys("sfmcS3", ["a", "b"])
    assert not store.is_taken(store.get(first.export_id), ["a"]), "its own"
    store.claimed(first).fail(ERROR)
    second = queued(store, campaign_id=campaign_id)
    assert store.is_taken(second, ["x", "b"])
    assert not store.is_taken(second, ["x"])
    assert not store.is_taken(queued(store), ["b"]), "another campaign's"


def attempts_that_fail(store: ExportRepository, export_id: str, count: int) -> None:
    for _ in range(count):
        store.retry(export_id, redeliver=True)
        store.claimed(store.claim(export_id, "run")[0]).fail(ERROR)


class TestManyAttempts:
    """A document holds the latest attempts, and no other but those whose files are, or may be, on S3."""

    def test_the_latest_are_kept_and_all_are_counted(self, store: ExportRepository) -> None:
        claim = triggered(store)
        store.claimed(claim).fail(ERROR)
        attempts_that_fail(store, claim.export_id, 54)
        export = store.get(claim.export_id)
        assert export.attempt == 55
        assert [attempt.attempt for attempt in export.attempts] == [*range(6, 56)]
        cancelled = store.request_cancel(store.retry(claim.export_id).id)
        assert [attempt.attempt for attempt in cancelled.attempts] == [*range(7, 57)]
        store.retry(claim.export_id)
        assert store.close_run(claim.export_id, "run", ExportStatus.FAILED, ERROR, attempt=57)
        assert [attempt.attempt for attempt in store.get(claim.export_id).attempts] == [*range(8, 58)]

    def test_keys_stay_known_until_nothing_is_left_under_them(self, store: ExportRepository) -> None:
        claim = triggered(store)
        store.claimed(claim).note_keys("exportsS3", ["lost"])
        store.claimed(claim).fail(ERROR)
        store.retry(claim.export_id)
        second, _ = store.claim(claim.export_id, "run-2")
        store.claimed(second).note_keys("exportsS3", ["delivered"])
        export = store.claimed(second).finish(DELIVERED)
        other = queued(store, campaign_id=export.campaign_id, export_type="entries")
        store.request_cancel(other.id)
        attempts_that_fail(store, claim.export_id, 52)
        kept = store.get(claim.export_id).attempts
        assert [attempt.attempt for attempt in kept] == [1, 2, *range(5, 55)]
        assert store.is_taken(other, ["lost"])
        assert store.is_taken(other, ["delivered"])
        (cleanup,) = store.reaper.pending_cleanups()
        assert [attempt.keys for attempt in cleanup.export.attempts if attempt.is_lost and attempt.keys] == [("lost",)]
        assert store.reaper.note_cleaned(cleanup, 0)
        attempts_that_fail(store, claim.export_id, 1)
        assert [attempt.attempt for attempt in store.get(claim.export_id).attempts] == [2, *range(6, 56)]
        assert not store.is_taken(other, ["lost"])
        assert store.is_taken(other, ["delivered"])

    def test_no_more_are_started_than_a_document_can_hold(self, store: ExportRepository, database: Documents) -> None:
        claim = triggered(store)
        store.claimed(claim).fail(ERROR)
        entries = [{"attempt": number, "status": "FAILED", "keys": ["k"]} for number in range(1, 201)]
        database.exports.update_one({}, {"$set": {"attempt": 200, "attempts": entries}})
        before = snapshot(database)
        with pytest.raises(ExportNotRetryable, match="keeps 200 attempts"):
            store.retry(claim.export_id)
        with pytest.raises(ExportNotClaimable, match="keeps 200 attempts"):
            store.claim_again(claim.export_id, "run-2", 200)
        assert snapshot(database) == before
