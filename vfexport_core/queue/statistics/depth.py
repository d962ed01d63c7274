"""What waits, runs or is unfinished at this moment: how much, and since when. Index-backed, and bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vfexport_core.mongo.document import NOW
from vfexport_core.mongo.own_collections import DELETIONS, EXPORTS, OUTBOX, open_owned
from vfexport_core.mongo.retry import DEFAULT_LIMITS, with_retries
from vfexport_core.queue import schema
from vfexport_core.queue.breakers import BucketBreakers, waiting_types
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.outbox import DeliveryStatus
from vfexport_core.queue.pause import QueuePause

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits
    from vfexport_core.queue.pause import Pause

    Documents = list[Document]

MOST = 10_000
"""So many are counted at most; the oldest is then the oldest of these."""


@dataclass(frozen=True, slots=True)
class CountSince:
    """How many there are, and since when the oldest is there, by MongoDB's clock (None: there is none)."""

    count: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The PENDING exports, the TRIGGERED one, the CCPA deletions that are not complete, what keeps exports waiting.

    `due`: so many of the PENDING ones wait for their turn alone, neither for the time of their next attempt nor for a
    bucket that hangs. `deletions_at_work`: so many of the deletions have somebody who works on them now.
    `notifications` are those that are to be sent, and those that were given up, by that.
    """

    pending: CountSince
    due: int
    triggered: CountSince
    deletions: CountSince
    deletions_at_work: int = 0
    hanging: Collection[str] = ()
    pause: Pause | None = None
    notifications: Mapping[str, CountSince] = field(default_factory=dict[str, CountSince])


def read_depth(database: Database[dict[str, Any]], limits: RetryLimits = DEFAULT_LIMITS) -> QueueDepth:
    """Return it as it is now; raises SourceUnavailable after as long as `limits` say, six times at most."""

    def sums(collection: str, query: Document, order: Mapping[str, int], since: Any, **more: Document) -> Documents:
        found = open_owned(database, collection)
        group = {"_id": "$status", "count": {"$sum": 1}, "since": {"$min": since}} | more
        pipeline = [{"$match": query}, {"$sort": order}, {"$limit": MOST}, {"$group": group}]
        return with_retries(found, lambda: [*found.aggregate(pipeline)], limits)

    def summed(collection: str, query: Document, order: Mapping[str, int], since: Any, **more: Document) -> Document:
        groups = sums(collection, query, order, since, **more)
        return groups[0] if groups else {"count": 0, "since": None, "due": 0}

    hanging = BucketBreakers(database, limits).all_open()
    # As numbers: the embedded server compares no date with $$NOW.
    is_later = {"$gt": [{"$toLong": "$retryAt"}, {"$toLong": NOW}]}
    held: Document = {"$or": [is_later, {"$in": ["$exportType", sorted(waiting_types(hanging))]}]}
    pending, triggered = ({"status": status.value} for status in (ExportStatus.PENDING, ExportStatus.TRIGGERED))
    leased = {"$gt": [{"$toLong": "$leaseUntil"}, {"$toLong": NOW}]}
    at_work: Document = {"$sum": {"$cond": [leased, 1, 0]}}
    deletions = summed(DELETIONS, {"status": "OPEN"}, {"date.requested": 1}, "$date.requested", at_work=at_work)
    asked = {"$ifNull": ["$queued", "$date.created"]}
    waiting = summed(EXPORTS, pending, dict(schema.ORDER), asked, due={"$sum": {"$cond": [held, 0, 1]}})
    unsent = {"status": {"$in": [DeliveryStatus.PENDING.value, DeliveryStatus.DEAD.value]}}
    return QueueDepth(
        pending=_backlog(waiting),
        due=waiting["due"],
        triggered=_backlog(summed(EXPORTS, triggered, {"_id": 1}, "$date.triggered")),
        deletions=_backlog(deletions),
        deletions_at_work=deletions.get("at_work", 0),
        hanging=hanging.keys(),
        pause=QueuePause(database, limits).read(),
        notifications={one["_id"]: _backlog(one) for one in sums(OUTBOX, unsent, {"at": 1}, "$at")},
    )


def _backlog(found: Document) -> CountSince:
    return CountSince(found["count"], found["since"])
