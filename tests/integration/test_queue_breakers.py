"""Breakers of buckets: who opens one, who probes, when exports go on; all by MongoDB's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.queue_helpers import ERROR, queued
from vfexport_core.errors import BucketHangs, DeliveryFailed, QueueBusy
from vfexport_core.mongo.own_collections import BREAKERS
from vfexport_core.queue.breakers import FIRST_PROBE_SECONDS, LONGEST_SECONDS, BucketBreakers
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.queue.statistics.estimates import Estimator
from vfexport_core.services.claim import Turn, WaitPolicy
from vfexport_core.services.hanging_buckets import claimable, noticing, probe_due
from vfexport_core.telemetry.threads import at_once

if TYPE_CHECKING:
    from pymongo.database import Database

    Documents = Database[dict[str, Any]]

EXPORTS, SCORING = "exportsS3", "scoringS3"


@pytest.fixture
def breakers(database: Documents) -> BucketBreakers:
    return BucketBreakers(database)


@pytest.fixture
def store(database: Documents) -> ExportRepository:
    store = ExportRepository(database)
    store.initialise()
    return store


def let_pass(database: Documents, bucket: str) -> None:
    """Let the pause before the next probe be over."""
    database[BREAKERS].update_one({"_id": bucket}, {"$set": {"probeDue": datetime(2020, 1, 1, tzinfo=UTC)}})


def pause_of(breakers: BucketBreakers, bucket: str, database: Documents) -> timedelta:
    (found,) = database[BREAKERS].aggregate([{"$match": {"_id": bucket}}, {"$addFields": {"now": "$$NOW"}}])
    return found["probeDue"] - found["now"]


class Probed:
    """The buckets as a probe finds them."""

    def __init__(self, *hanging: str) -> None:
        self.hanging = set(hanging)
        self.asked: list[str] = []
        self.configured = [EXPORTS, SCORING]

    def probe(self, bucket: str) -> None:
        self.asked.append(bucket)
        if bucket in self.hanging:
            raise DeliveryFailed("no answer")


def test_all_is_well_until_a_bucket_was_given_up(breakers: BucketBreakers) -> None:
    assert (breakers.all_open(), breakers.take_probe()) == ({}, None)
    breakers.trip(EXPORTS)
    (breaker,) = breakers.all_open().values()
    assert (breaker.bucket, breaker.failures) == (EXPORTS, 1)
    assert "exportsS3 has hung since" in str(breaker)
    breakers.close(EXPORTS)
    breakers.close(EXPORTS)
    assert breakers.all_open() == {}


def test_the_pause_before_a_probe_doubles_and_is_bounded(breakers: BucketBreakers, database: Documents) -> None:
    pauses = [FIRST_PROBE_SECONDS * 2**failures for failures in range(4)] + [LONGEST_SECONDS] * 2
    for number, seconds in enumerate(pauses):
        breakers.trip(EXPORTS)
        assert timedelta(seconds=seconds - 5) < pause_of(breakers, EXPORTS, database) <= timedelta(seconds=seconds)
        assert breakers.all_open()[EXPORTS].failures == number + 1
    since = breakers.all_open()[EXPORTS].since
    breakers.trip(EXPORTS)
    assert breakers.all_open()[EXPORTS].since == since, "it has hung since the first time"


def test_a_probe_is_taken_when_it_is_due_and_by_one_of_all_who_ask(
    breakers: BucketBreakers, database: Documents
) -> None:
    breakers.trip(EXPORTS)
    breakers.trip(SCORING)
    assert breakers.take_probe() is None, "it is not due yet"
    let_pass(database, EXPORTS)
    taken = at_once(lambda _: BucketBreakers(database).take_probe(), range(8))
    assert sorted(filter(None, taken)) == [EXPORTS]
    assert breakers.all_open()[EXPORTS].failures == 2, "until it has succeeded it counts as one more failure"


def test_a_probe_that_succeeds_lets_exports_go_on_and_one_that_fails_does_not(
    breakers: BucketBreakers, database: Documents
) -> None:
    for bucket in (EXPORTS, SCORING):
        breakers.trip(bucket)
        let_pass(database, bucket)
    probed: Any = Probed(SCORING)
    assert len([*probe_due(breakers, lambda: probed)]) == 2
    assert sorted(probed.asked) == [EXPORTS, SCORING]
    assert [*breakers.all_open()] == [SCORING]
    assert [*probe_due(breakers, lambda: probed)] == [], "the next one is not due yet"


def test_a_process_that_does_not_reach_a_bucket_leaves_its_probe_to_others(
    breakers: BucketBreakers, database: Documents
) -> None:
    breakers.trip(EXPORTS)
    let_pass(database, EXPORTS)
    probed: Any = Probed()
    probed.configured = [SCORING]
    assert [*probe_due(breakers, lambda: probed)] == []
    probed.configured = [EXPORTS]
    assert len([*probe_due(breakers, lambda: probed)]) == 1


def test_a_bucket_that_hangs_once_more_after_its_probe_waits_longer(
    breakers: BucketBreakers, database: Documents
) -> None:
    breakers.trip(EXPORTS)
    breakers.half_open(EXPORTS)
    assert breakers.all_open() == {}
    breakers.trip(EXPORTS)
    assert breakers.all_open()[EXPORTS].failures == 2
    breakers.close(EXPORTS)
    breakers.trip(EXPORTS)
    assert breakers.all_open()[EXPORTS].failures == 1, "an export that ended well made it well again"


def test_it_is_opened_by_what_gives_a_bucket_up_and_by_nothing_else(breakers: BucketBreakers) -> None:
    with pytest.raises(DeliveryFailed), noticing(breakers, EXPORTS):
        raise DeliveryFailed("503, six times")
    assert breakers.all_open() == {}
    with pytest.raises(BucketHangs), noticing(breakers, EXPORTS):
        raise BucketHangs("nothing has succeeded")
    assert [*breakers.all_open()] == [EXPORTS]


def test_exports_into_a_bucket_that_hangs_are_passed_over_in_the_order_of_the_queue(store: ExportRepository) -> None:
    types = ["entries", "scoring", "codes", "verifiedEntries"]
    exports = [queued(store, export_type=export_type) for export_type in types]
    store.breakers.trip(EXPORTS)
    assert {"entries", "codes"} < store.breakers.waiting_types().keys()
    assert [export.export_type for export in claimable(store, 10)] == ["scoring", "verifiedEntries"]
    turn = Turn(store, "run-1", WaitPolicy(0.01, 60_000, most_seconds=0), lambda _: None)
    with pytest.raises(QueueBusy, match=r"bucket exportsS3 has hung since .*: exports into it wait") as raised:
        turn.claim_oldest_first(exports[0].id)
    assert raised.value.payload == EXPORTS
    with pytest.raises(QueueBusy, match="1 exports were asked for before this one"):
        turn.claim_oldest_first(exports[3].id)
    claim, _ = turn.claim_oldest_first(exports[1].id)
    store.claimed(claim).fail(ERROR)
    store.breakers.half_open(EXPORTS)
    with pytest.raises(QueueBusy, match="2 exports were asked for before"):
        turn.claim_oldest_first(exports[3].id)
    assert turn.claim_oldest_first(exports[0].id)[1].id == exports[0].id


def test_a_place_in_the_queue_stays_and_says_why_it_is_not_taken(store: ExportRepository) -> None:
    exports = [queued(store, export_type=export_type) for export_type in ("entries", "scoring")]
    store.breakers.trip(EXPORTS)
    first, second = (Estimator(store).estimate(export) for export in exports)
    assert first is not None
    assert second is not None
    assert (first.position, second.position) == (1, 2)
    assert "exportsS3 has hung" in str(first.reason)
    assert (second.reason, second.starts_in_seconds) == (None, 0)
