"""The pause of the queue: while there is one, nothing is claimed, whoever asks; what runs goes on (drain: wait for it).

One document of the control collection, beside the schema's version; without it the queue is open. Every try to claim
looks at it just before, and has `CLAIM_SECONDS` for both: a claim that was under way when the pause began may still
come to pass for so long, and who drains waits longer (`DRAIN_LAG_SECONDS`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from vfexport_core.errors import QueuePaused
from vfexport_core.mongo.document import NOW, storable
from vfexport_core.mongo.own_collections import CONTROL, open_owned
from vfexport_core.mongo.retry import DEFAULT_LIMITS, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits

T = TypeVar("T")

CLAIM_SECONDS = 5.0
"""So long may one try to claim take, from its look at the pause on."""
DRAIN_LAG_SECONDS = CLAIM_SECONDS + 1.0
MOST_REASON = 500
"""So many characters of a reason are kept."""

_ID = "queue"
_MOST_NAME = 128


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when nothing is claimed, by MongoDB's clock; why ("" if nobody said), and who wanted it."""

    since: datetime
    seconds: float
    reason: str
    by: str

    def __str__(self) -> str:
        return self._told(f" by {self.by}")

    @property
    def for_callers(self) -> str:
        """What callers of the API are told: the operator's account is none of their business."""
        return self._told("")

    def _told(self, by: str) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"the queue has been paused since {self.since:%Y-%m-%d %H:%M:%S} UTC{by}{why}"


class QueuePause:
    """Begins, ends and reads the pause; any method may raise SourceUnavailable, after as long as `limits` say."""

    def __init__(self, database: Database[dict[str, Any]], limits: RetryLimits = DEFAULT_LIMITS) -> None:
        self._documents = open_owned(database, CONTROL)
        self._limits = limits

    def read(self) -> Pause | None:
        """Return the pause; None while the queue is open."""
        return self._retried(self._look)

    def begin(self, reason: str | None, by: str) -> Pause | None:
        """Pause the queue, or say anew why and by whom; a reason that is not given stays.

        Return the pause, None when somebody has resumed meanwhile.
        """
        given = "$reason" if reason is None else {"$literal": storable(reason)[:MOST_REASON]}
        change: Document = {
            "since": {"$ifNull": ["$since", NOW]},
            "reason": {"$ifNull": [given, ""]},
            "by": {"$literal": storable(by)[:_MOST_NAME]},
        }
        self._retried(lambda: self._documents.update_one({"_id": _ID}, [{"$set": change}], upsert=True))
        return self.read()

    def end(self) -> Pause | None:
        """Open the queue again; return the pause that there was, None when it was open."""
        pause = self.read()
        self._retried(lambda: self._documents.delete_one({"_id": _ID}))
        return pause

    def check(self) -> None:
        """Raise QueuePaused while there is a pause."""
        self._refuse(self.read())

    def check_once(self) -> None:
        """Do as `check`, for whoever does the retries: raises PyMongoError."""
        self._refuse(self._look())

    def _look(self) -> Pause | None:
        found = [*self._documents.aggregate([{"$match": {"_id": _ID}}, {"$addFields": {"now": NOW}}])]
        return _pause(found[0]) if found else None

    def _refuse(self, pause: Pause | None) -> None:
        if pause is not None:
            raise QueuePaused(str(pause), payload=_ID)

    def _retried(self, operation: Callable[[], T]) -> T:
        return with_retries(self._documents, operation, self._limits)


def _pause(document: Document) -> Pause:
    seconds = (document["now"] - document["since"]).total_seconds()
    return Pause(document["since"], seconds, document["reason"], document["by"])
