"""The outbox of notifications: what has to reach a webhook, in the database, until the webhook has said that it has it.

There is one document per event and webhook, whose id says which: putting an event again changes nothing. A sender
takes one by moving its due time into the future (a lease), so that of two senders one has it, and that of a sender
which dies comes up again. What fails is due again after a pause that grows; after `MOST_TRIES`, whether they failed or
their senders died, it is dead, and stays until somebody sends it again or discards it. Everything is by MongoDB's
clock. No field has room for a fan's data or an error's text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from bson import ObjectId
from pymongo import ASCENDING, IndexModel, UpdateOne
from pymongo.errors import BulkWriteError

from vfexport_core.mongo.document import NOW, storable
from vfexport_core.mongo.own_collections import OUTBOX, open_owned
from vfexport_core.mongo.retry import DEFAULT_LIMITS, has_only_duplicates, with_retries
from vfexport_core.mongo.schema_setup import DATE, INDEX_BUILD_LIMITS, INT, TEXT, closed, put_indexes, put_validator
from vfexport_core.settings import NOTIFICATION_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits

T = TypeVar("T")

MOST_TRIES = 12
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 4 * 3_600.0
"""Four times as long before each more: twelve tries take about a day."""
LEASE_SECONDS = 120.0
"""Longer than a sender may take for one message, with the look-up of its receiver's name."""
KEPT_DAYS = 14
"""What was sent or discarded is kept for so long: longer than an event may be put again (``ended.LOOK_BACK``)."""
MOST_AT_ONCE = 500
"""So many deliveries may be put by one call."""

_MILLIS, _DAY_MILLIS = 1_000, 86_400_000
_CLAIM_TRIES = 20
_JITTER = 0.25
_LONGEST_TEXT = 256


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"
    DISCARDED = "discarded"


INDEXES = (
    # MongoDB deletes what is over when its time has come.
    IndexModel([("expires", ASCENDING)], name="expiry", expireAfterSeconds=0),
    # What is due for a webhook, oldest first.
    IndexModel([("status", ASCENDING), ("webhook", ASCENDING), ("due", ASCENDING)], name="due_order"),
    # The oldest that wait, or are dead.
    IndexModel([("status", ASCENDING), ("at", ASCENDING)], name="by_status"),
)
_CAMPAIGN = {"bsonType": "string", "pattern": "^[0-9a-f]{24}$"}
_DATA = closed(
    [],
    {
        "exportId": {"bsonType": "string", "pattern": "^[0-9a-f]{24}$"},
        "exportType": {"bsonType": "string", "pattern": "^[a-z][A-Za-z]{0,63}$"},
        "campaignId": _CAMPAIGN,
        "campaignName": TEXT,
        "status": {"bsonType": "string", "pattern": "^[A-Z]{1,16}$"},
        "attempt": INT,
        "rows": INT,
        "seconds": {"bsonType": ["double", "int", "long"]},
        "runId": TEXT,
        "errorCode": TEXT,
        "deletionId": {"bsonType": "string", "pattern": "^[0-9a-f]{24}$"},
        "requested": DATE,
        "tries": INT,
    },
)
VALIDATOR: Document = {
    "$jsonSchema": closed(
        ["_id", "messageId", "webhook", "type", "at", "data", "status", "due", "tries"],
        {
            "_id": TEXT,
            "messageId": {"bsonType": "string", "pattern": "^evt_[0-9a-zA-Z_]{1,100}$"},
            "webhook": {"bsonType": "string", "pattern": "^[a-z0-9_-]{1,32}$"},
            "type": {"enum": [*NOTIFICATION_TYPES]},
            "at": DATE,
            "data": _DATA,
            "status": {"enum": [status.value for status in DeliveryStatus]},
            "due": DATE,
            "tries": INT,
            "leaseId": {"bsonType": "objectId"},
            "problem": TEXT,
            "ended": DATE,
            "expires": DATE,
        },
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to tell: `id` is the message's, whichever webhook it goes to; `data` as the validator has it."""

    id: str
    type: str
    at: datetime
    data: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event on its way to a webhook; `problem` is what the last try met, `tries` counts the one under way."""

    id: str
    webhook: str
    event: Event
    status: DeliveryStatus
    tries: int
    due: datetime
    problem: str | None
    lease_id: ObjectId | None

    @classmethod
    def from_document(cls, document: Document) -> Delivery:
        event = Event(id=document["messageId"], type=document["type"], at=document["at"], data=document["data"])
        return cls(
            id=document["_id"],
            webhook=document["webhook"],
            event=event,
            status=DeliveryStatus(document["status"]),
            tries=document["tries"],
            due=document["due"],
            problem=document.get("problem"),
            lease_id=document.get("leaseId"),
        )


class Outbox:
    """The deliveries of one database; safe to share between threads. Any method may raise SourceUnavailable."""

    def __init__(self, database: Database[dict[str, Any]], limits: RetryLimits = DEFAULT_LIMITS) -> None:
        self._documents = open_owned(database, OUTBOX)
        self._limits = limits

    def initialise(self) -> None:
        """Create validator and indexes, or bring them up to date; raises InitialisationFailed."""
        self._retried(lambda: put_validator(self._documents, VALIDATOR))
        with_retries(self._documents, lambda: put_indexes(self._documents, INDEXES), INDEX_BUILD_LIMITS)

    def put(self, deliveries: Iterable[tuple[str, Event]]) -> int:
        """Have events sent to webhooks, by name, and return how many are new; what was put before stays as it is.

        One question for what is there, and one write of what is not: for up to `MOST_AT_ONCE` deliveries.
        """
        wanted = {f"{webhook}:{event.id}": _new(webhook, event) for webhook, event in deliveries}
        query: Document = {"_id": {"$in": [*wanted]}}
        there = self._retried(lambda: {one["_id"] for one in self._documents.find(query, ["_id"])}) if wanted else set()
        missing = [
            UpdateOne({"_id": delivery_id}, {"$setOnInsert": new}, upsert=True)
            for delivery_id, new in wanted.items()
            if delivery_id not in there
        ]
        return self._retried(lambda: self._insert(missing)) if missing else 0

    def _insert(self, missing: list[UpdateOne]) -> int:
        try:
            return self._documents.bulk_write(missing, ordered=False).upserted_count
        except BulkWriteError as error:
            if not has_only_duplicates(error):
                raise
            return error.details["nUpserted"]  # somebody else puts the others at this moment

    def take(self, webhook: str) -> Delivery | None:
        """Return the oldest delivery that is due for a webhook, leased to the caller; None when there is none."""
        waiting = {"status": DeliveryStatus.PENDING.value, "webhook": webhook}
        pipeline = [{"$match": waiting}, {"$sort": {"due": ASCENDING}}, {"$limit": 1}, {"$addFields": {"now": NOW}}]
        for _ in range(_CLAIM_TRIES):  # as often as another sender may be quicker
            found: list[Document] = self._retried(lambda: [*self._documents.aggregate(pipeline)])
            if not found or found[0]["due"] > found[0]["now"]:
                return None
            mine = self._lease(found[0])
            if mine is not None:
                return Delivery.from_document(mine)
        return None

    def _lease(self, seen: Document) -> Document | None:
        lease_id = ObjectId()
        unchanged = {name: seen[name] for name in ("_id", "status", "due", "tries")}
        lease = {
            "due": {"$add": [NOW, round(LEASE_SECONDS * _MILLIS)]},
            "tries": seen["tries"] + 1,
            "leaseId": lease_id,
        }
        self._retried(lambda: self._documents.update_one(unchanged, [{"$set": lease}]))
        # Whose lease it is tells it apart from another sender's, also when an answer was lost.
        return self._retried(lambda: self._documents.find_one({"_id": seen["_id"], "leaseId": lease_id}))

    def note_sent(self, delivery: Delivery) -> bool:
        """Note that the receiver has it; False when the lease was over, and somebody else may send it again."""
        return self._end(delivery, _ended(DeliveryStatus.SENT), "problem")

    def note_failed(
        self, delivery: Delivery, problem: str, *, is_final: bool = False, least_seconds: float = 0.0
    ) -> DeliveryStatus:
        """Note what was in the way, and return what becomes of it: it is due again later, or dead."""
        what: Document = {"problem": {"$literal": storable(problem)[:_LONGEST_TEXT]}}
        if is_final or delivery.tries >= MOST_TRIES:
            self._end(delivery, {"status": DeliveryStatus.DEAD.value, "ended": NOW} | what)
            return DeliveryStatus.DEAD
        seconds = pause_seconds(delivery.tries, least_seconds)
        self._end(delivery, {"due": {"$add": [NOW, round(seconds * _MILLIS)]}} | what)
        return DeliveryStatus.PENDING

    def _end(self, delivery: Delivery, change: Document, *gone: str) -> bool:
        held = {"_id": delivery.id, "leaseId": delivery.lease_id}
        done = self._retried(
            lambda: self._documents.update_one(held, [{"$set": change}, {"$unset": ["leaseId", *gone]}])
        )
        return done.matched_count == 1

    def find(self, status: DeliveryStatus, *, webhook: str | None = None, limit: int = 50) -> list[Delivery]:
        """Return up to `limit` deliveries, oldest event first."""
        query: Document = {"status": status.value} | ({} if webhook is None else {"webhook": webhook})
        found = self._retried(lambda: [*self._documents.find(query).sort([("at", ASCENDING)]).limit(limit)])
        return [Delivery.from_document(document) for document in found]

    def counts(self) -> dict[tuple[str, DeliveryStatus], int]:
        """Return how many wait and how many are dead, by webhook."""
        shown = [DeliveryStatus.PENDING.value, DeliveryStatus.DEAD.value]
        group = {"_id": {"webhook": "$webhook", "status": "$status"}, "count": {"$sum": 1}}
        pipeline = [{"$match": {"status": {"$in": shown}}}, {"$group": group}]
        found: list[Document] = self._retried(lambda: [*self._documents.aggregate(pipeline)])
        return {(one["_id"]["webhook"], DeliveryStatus(one["_id"]["status"])): one["count"] for one in found}

    def send_again(self, ids: Sequence[str] | None, *, webhook: str | None = None) -> int:
        """Have dead deliveries sent again from now on, as often as new ones: those, or all; return how many."""
        change = [{"$set": {"status": DeliveryStatus.PENDING.value, "due": NOW, "tries": 0}}, {"$unset": ["ended"]}]
        return self._change(_those((DeliveryStatus.DEAD,), ids, webhook), change)

    def discard(
        self,
        ids: Sequence[str] | None,
        *,
        webhook: str | None = None,
        given_up: Collection[DeliveryStatus] = (DeliveryStatus.DEAD, DeliveryStatus.PENDING),
    ) -> int:
        """Give up deliveries that are dead, or wait, or only the ones or the others: those, or all; return how many."""
        change: list[Document] = [{"$set": _ended(DeliveryStatus.DISCARDED)}, {"$unset": ["leaseId"]}]
        return self._change(_those(given_up, ids, webhook), change)

    def _change(self, query: Document, change: list[Document]) -> int:
        return self._retried(lambda: self._documents.update_many(query, change)).modified_count

    def _retried(self, operation: Callable[[], T]) -> T:
        return with_retries(self._documents, operation, self._limits)


def pause_seconds(tries: int, least: float = 0.0) -> float:
    """Return how long to wait after so many tries: four times as long after each more, a quarter more or less."""
    pause = min(FIRST_PAUSE_SECONDS * 4 ** (tries - 1), LONGEST_PAUSE_SECONDS)
    return max(pause * random.uniform(1 - _JITTER, 1 + _JITTER), min(least, LONGEST_PAUSE_SECONDS))  # noqa: S311 no secret


def _new(webhook: str, event: Event) -> Document:
    data = {name: storable(value) if isinstance(value, str) else value for name, value in event.data.items()}
    return {
        "messageId": event.id,
        "webhook": webhook,
        "type": event.type,
        "at": event.at,
        "data": data,
        "status": DeliveryStatus.PENDING.value,
        "due": event.at,
        "tries": 0,
    }


def _ended(status: DeliveryStatus) -> Document:
    return {"status": status.value, "ended": NOW, "expires": {"$add": [NOW, KEPT_DAYS * _DAY_MILLIS]}}


def _those(statuses: Collection[DeliveryStatus], ids: Sequence[str] | None, webhook: str | None) -> Document:
    query: Document = {"status": {"$in": sorted(statuses)}}
    if ids is not None:
        query["_id"] = {"$in": list(ids)}
    if webhook is not None:
        query["webhook"] = webhook
    return query
