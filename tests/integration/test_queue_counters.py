"""The counters over all exports that ended: each attempt counts once, whoever looks, and what was counted stays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from tests.integration.queue_helpers import DELIVERED, ERROR, queued, triggered
from vfexport_core.catalog import find_spec
from vfexport_core.errors import SourceUnavailable
from vfexport_core.mongo.own_collections import COUNTERS
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.queue.models import AutoRetries, ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.queue.statistics.counters import BOUNDS, ExportCounters, sums_of
from vfexport_core.queue.statistics.depth import CountSince, read_depth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    Documents = Database[dict[str, Any]]

FINISHED, FAILED, CANCELED = ExportStatus.FINISHED, ExportStatus.FAILED, ExportStatus.CANCELED


@pytest.fixture
def store(database: Documents) -> ExportRepository:
    store = ExportRepository(database)
    store.initialise()
    return store


@pytest.fixture
def counters(database: Documents) -> ExportCounters:
    """Counters that do not leave the last seconds out."""
    return ExportCounters(database, lag_seconds=0)


@pytest.fixture
def unreachable() -> Iterator[Documents]:
    with MongoClient[dict[str, Any]]("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=50) as client:
        yield client["nothing"]


def test_every_attempt_counts_once(store: ExportRepository, counters: ExportCounters) -> None:
    store.claimed(triggered(store)).finish(DELIVERED)
    failed = triggered(store, export_type="codes")
    store.claimed(failed).fail(ERROR)
    store.retry(failed.export_id)
    store.claimed(store.claim(failed.export_id, "run-2")[0]).finish(DELIVERED)
    store.request_cancel(queued(store, export_type="codes").id)
    found = counters.read()
    assert found.ended == {
        ("entries", FINISHED): 1,
        ("codes", FAILED): 1,
        ("codes", FINISHED): 1,
        ("codes", CANCELED): 1,
    }
    assert found.rows == {"entries": 7, "codes": 7}
    assert found.bytes == {"entries": 70, "codes": 70}
    assert {kind: sum(durations.counts.values()) for kind, durations in found.seconds.items()} == {
        "entries": 1,
        "codes": 1,
    }
    assert sum(found.waits.counts.values()) == 3, "what was cancelled before its claim has not waited for it"
    again = counters.read()
    assert (again.ended, again.rows, again.waits) == (found.ended, found.rows, found.waits)


def test_attempts_after_which_another_one_follows_by_itself_are_counted_apart(
    store: ExportRepository, counters: ExportCounters, database: Documents
) -> None:
    """Twice; the third one failed for good. What a person runs again has failed for good before."""
    retrying = ExportRepository(database, lease_seconds=0, retries=AutoRetries(2, 0))
    export = queued(retrying)
    for number in (1, 2, 3):
        retrying.claim(export.id, f"run-{number}")
        assert retrying.reaper.reap(60_000) is not None
    found = counters.read()
    assert (found.ended, found.retried) == ({("entries", FAILED): 3}, {"entries": 2})
    store.retry(export.id)
    store.claimed(store.claim(export.id, "run-4")[0]).fail(ERROR)
    found = counters.read()
    assert (found.ended, found.retried) == ({("entries", FAILED): 4}, {"entries": 2})


def test_what_followed_by_itself_is_known_when_a_person_has_run_the_export_again_before_it_is_counted(
    store: ExportRepository, counters: ExportCounters, database: Documents
) -> None:
    retrying = ExportRepository(database, lease_seconds=0, retries=AutoRetries(1, 0))
    export = queued(retrying)
    for number in (1, 2):
        retrying.claim(export.id, f"run-{number}")
        assert retrying.reaper.reap(60_000) is not None
    store.retry(export.id)
    assert counters.read().retried == {"entries": 1}


def test_what_is_looked_at_by_many_at_once_counts_once(store: ExportRepository, database: Documents) -> None:
    for _ in range(10):
        store.claimed(triggered(store)).finish(DELIVERED)
        lookers = [ExportCounters(database, lag_seconds=0) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ExportCounters.read, lookers))
    assert lookers[0].read().ended == {("entries", FINISHED): 10}


def test_counters_stay_when_exports_are_deleted(
    store: ExportRepository, counters: ExportCounters, database: Documents
) -> None:
    store.claimed(triggered(store)).finish(DELIVERED)
    before = counters.read()
    database.exports.delete_many({})
    store.claimed(triggered(store)).finish(DELIVERED)
    assert before.ended == {("entries", FINISHED): 1}
    assert counters.read().ended == {("entries", FINISHED): 2}


def test_the_last_seconds_wait_for_the_next_look(store: ExportRepository, database: Documents) -> None:
    store.claimed(triggered(store)).finish(DELIVERED)
    assert ExportCounters(database, lag_seconds=600).read().ended == {}
    assert ExportCounters(database, lag_seconds=0).read().ended == {("entries", FINISHED): 1}


def test_a_long_backlog_is_counted_in_steps(
    store: ExportRepository, counters: ExportCounters, database: Documents
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for hours in (1, 5, 30):
        claim = triggered(store)
        store.claimed(claim).finish(DELIVERED)
        ended = now - timedelta(hours=hours)
        database.exports.update_one({"runId": claim.run_id}, {"$set": {"attempts.0.ended": ended, "runId": "old"}})
    database[COUNTERS].update_one({"_id": "exports"}, {"$set": {"upTo": now - timedelta(days=3)}})
    found = counters.read()
    assert found.ended == {("entries", FINISHED): 3}
    assert found.now - found.up_to < timedelta(minutes=1)


def test_waits_begin_at_the_request_or_the_retry(
    store: ExportRepository, counters: ExportCounters, database: Documents
) -> None:
    claim = triggered(store)
    store.claimed(claim).fail(ERROR)
    database.exports.update_one({}, {"$set": {"date.created": datetime(2020, 1, 1, tzinfo=UTC)}})
    store.retry(claim.export_id)
    waiting = read_depth(database).pending
    assert waiting.since is not None
    assert waiting.since.year > 2020
    store.claimed(store.claim(claim.export_id, "run-2")[0]).finish(DELIVERED)
    assert counters.read().waits.total_seconds < 3_600


def test_durations_are_sorted_into_classes() -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    attempts = [
        {"status": "FINISHED", "queued": start, "triggered": start, "ended": start + timedelta(seconds=seconds)}
        for seconds in (0, 1, 1.001, 86_400, 86_401)
    ]
    sums = sums_of([{"exportType": "entries", "attempts": attempts}], start - timedelta(1), start + timedelta(9))
    counts = {name.rpartition(".")[2]: n for name, n in sums.items() if name.startswith("seconds.entries.counts.")}
    assert counts == {"to1": 2, "to2": 1, "to86400": 1, "more": 1}
    assert sums["seconds.entries.sum"] == pytest.approx(172_803.001)
    assert sorted(BOUNDS) == list(BOUNDS)


def test_lost_leases_are_counted(store: ExportRepository, counters: ExportCounters, database: Documents) -> None:
    triggered(ExportRepository(database, lease_seconds=0))
    assert store.reaper.reap(60_000) is not None
    counters.note_lease_lost()
    assert counters.read().leases_lost == {"WorkerLost": 1, "LeaseLost": 1}


def test_the_depth_of_the_queue_is_that_of_now(store: ExportRepository, database: Documents) -> None:
    assert read_depth(database).pending == CountSince(0, None)
    claim = triggered(store)
    oldest = queued(store)
    queued(store)
    store.request_cancel(queued(store).id)
    depth = read_depth(database)
    assert depth.pending == CountSince(2, oldest.date.created)
    assert depth.triggered == CountSince(1, store.get(claim.export_id).date.triggered)
    assert depth.deletions == CountSince(0, None)


def test_an_export_is_due_that_waits_neither_for_a_time_nor_for_a_bucket(
    store: ExportRepository, database: Documents
) -> None:
    retrying = ExportRepository(database, lease_seconds=0, retries=AutoRetries(1, 600))
    triggered(retrying)
    assert retrying.reaper.reap(60_000) is not None
    queued(store, export_type="scoring")
    queued(store, export_type="codes")
    assert (read_depth(database).pending.count, read_depth(database).due) == (3, 2)
    store.breakers.trip(find_spec("scoring").bucket)
    assert (read_depth(database).pending.count, read_depth(database).due) == (3, 1)


def test_open_deletions_are_counted(database: Documents) -> None:
    requested = datetime(2024, 1, 1, tzinfo=UTC)
    database["ccpaDeletions"].insert_many(
        [
            {"status": "COMPLETE", "date": {"requested": requested - timedelta(1)}},
            {"status": "OPEN", "date": {"requested": requested + timedelta(1)}},
            {"status": "OPEN", "date": {"requested": requested}},
        ]
    )
    assert read_depth(database).deletions == CountSince(2, requested)


def test_looking_reads_only_what_is_new(store: ExportRepository, counters: ExportCounters, database: Documents) -> None:
    """The plan of the query that finds what ended is a range of the index that is declared for it."""
    store.claimed(triggered(store)).finish(DELIVERED)
    plan = database.exports.find({"attempts.ended": {"$gt": datetime.now(UTC)}}).explain()
    assert "attempts_by_end" in str(plan["queryPlanner"]["winningPlan"])


def test_counters_without_mongodb_say_so(unreachable: Documents) -> None:
    limits = RetryLimits(0.2)
    for look in (ExportCounters(unreachable, limits).read, lambda: read_depth(unreachable, limits)):
        with pytest.raises(SourceUnavailable):
            look()


def test_what_a_clock_that_is_behind_may_still_date_back_is_not_counted_yet(
    store: ExportRepository, database: Documents
) -> None:
    store.claimed(triggered(store)).finish(DELIVERED)
    for seconds, counted in ((50, {}), (70, {("entries", FINISHED): 1})):
        ended = {"$subtract": ["$$NOW", seconds * 1_000]}
        attempts = {"$map": {"input": "$attempts", "in": {"$mergeObjects": ["$$this", {"ended": ended}]}}}
        database.exports.update_one({}, [{"$set": {"attempts": attempts}}])
        an_hour_ago = [{"$set": {"upTo": {"$subtract": ["$$NOW", 3_600_000]}}}]
        database[COUNTERS].update_one({"_id": "exports"}, an_hour_ago)
        assert ExportCounters(database).read().ended == counted
