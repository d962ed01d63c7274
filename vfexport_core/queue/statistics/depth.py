"""What waits, runs or is unfinished at this moment: how much, and since when. Index-backed, and bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vfexport_core.mongo.own_collections import DELETIONS, EXPORTS, open_owned
from vfexport_core.mongo.retry import DEFAULT_LIMITS, with_retries
from vfexport_core.queue import schema
from vfexport_core.queue.breakers import BucketBreakers
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.pause import QueuePause

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits
    from vfexport_core.queue.pause import Pause

MOST = 10_000
"""So many are counted at most; the oldest is then the oldest of these."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many there are, and since when the oldest is there, by MongoDB's clock (None: there is none)."""

    count: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The PENDING exports, the TRIGGERED one, the CCPA deletions that are not complete, what keeps exports waiting."""

    pending: Backlog
    triggered: Backlog
    deletions: Backlog
    hanging: Collection[str] = ()
    pause: Pause | None = None


def read_depth(database: Database[dict[str, Any]], limits: RetryLimits = DEFAULT_LIMITS) -> QueueDepth:
    """Return it as it is now; raises SourceUnavailable after as long as `limits` say, five times at most."""

    def backlog(collection: str, query: Document, order: Mapping[str, int], since: Any) -> Backlog:
        found = open_owned(database, collection)
        group = {"_id": "$status", "count": {"$sum": 1}, "since": {"$min": since}}
        pipeline = [{"$match": query}, {"$sort": order}, {"$limit": MOST}, {"$group": group}]
        groups: list[Document] = with_retries(found, lambda: [*found.aggregate(pipeline)], limits)
        return Backlog(groups[0]["count"], groups[0]["since"]) if groups else Backlog(0, None)

    pending, triggered = ({"status": status.value} for status in (ExportStatus.PENDING, ExportStatus.TRIGGERED))
    asked = {"$ifNull": ["$queued", "$date.created"]}
    return QueueDepth(
        pending=backlog(EXPORTS, pending, dict(schema.ORDER), asked),
        triggered=backlog(EXPORTS, triggered, {"_id": 1}, "$date.triggered"),
        deletions=backlog(DELETIONS, {"status": "OPEN"}, {"date.requested": 1}, "$date.requested"),
        hanging=BucketBreakers(database, limits).all_open().keys(),
        pause=QueuePause(database, limits).read(),
    )
