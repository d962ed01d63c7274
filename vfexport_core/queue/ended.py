"""Attempts that ended, in the order of their ends, for whoever has to hear of each of them once.

Read from the exports' documents, where an attempt's end is written in the same step as its export's: nothing has to be
written beside it, and nobody who ends an attempt can forget to. How far they were read is kept with the counters. What
ended shortly before that is read again, since it may have come to light late (the clocks of MongoDB's members, after a
failover): the reader knows what it has had already.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from vfexport_core.mongo.document import NOW
from vfexport_core.mongo.own_collections import CLOCK_SKEW_SECONDS, COUNTERS, EXPORTS, open_owned
from vfexport_core.mongo.retry import DEFAULT_LIMITS, with_retries
from vfexport_core.queue.models import FINAL, ExportStatus
from vfexport_core.queue.statistics.counters import ended_between, is_followed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits

LOOK_BACK = timedelta(days=7)
"""What ended longer ago is not read any more, should nobody have read for so long."""

_ID = "ended"
_STEP = timedelta(hours=1)
# Nothing ended: how far it was read need not be written at every look.
_IDLE = timedelta(minutes=1)
_FIELDS = ("campaignId", "campaignName", "exportType", "attempts", "attempt", "queued")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedAttempt:
    """One attempt; `is_final`: its export ended with it, no other attempt followed by itself."""

    export_id: str
    campaign_id: str
    campaign_name: str
    export_type: str
    attempt: int
    status: ExportStatus
    ended: datetime
    seconds: float | None
    rows: int | None
    run_id: str | None
    error_code: str | None
    is_final: bool


@dataclass(frozen=True, slots=True)
class EndedSpan:
    """The attempts that ended until a moment, behind where reading stood before."""

    until: datetime
    attempts: tuple[EndedAttempt, ...]


class EndedAttempts:
    """See the module; safe to use by several at once. Its methods raise SourceUnavailable."""

    def __init__(self, database: Database[dict[str, Any]], limits: RetryLimits = DEFAULT_LIMITS) -> None:
        self._marks = open_owned(database, COUNTERS)
        self._exports = open_owned(database, EXPORTS)
        self._limits = limits

    def unread(self, is_enough: Callable[[], bool] = lambda: False) -> Iterator[EndedSpan]:
        """Yield what ended since it was last read, an hour at a time; a first reader begins with what ends from now.

        Each span is noted as read when the next one is asked for: behind whatever its taker has done with it. None is
        read any more once `is_enough`.
        """
        now, read_until = self._mark()
        since = max(read_until, now - LOOK_BACK)
        while since < now:
            until = min(now, since + _STEP)
            attempts = self._between(since - timedelta(seconds=CLOCK_SKEW_SECONDS), until)
            yield EndedSpan(until, tuple(attempts))
            if attempts or until - read_until >= _IDLE:
                self._note(until)
            if is_enough():
                return
            since = until

    def _mark(self) -> tuple[datetime, datetime]:
        """Return MongoDB's time, and until when everything was read."""
        begin = [{"$set": {"upTo": {"$ifNull": ["$upTo", NOW]}}}]
        pipeline = [{"$match": {"_id": _ID}}, {"$addFields": {"now": NOW}}]

        def read() -> list[Document]:
            return [*self._marks.aggregate(pipeline)]

        found = with_retries(self._marks, read, self._limits)
        if not found:
            with_retries(self._marks, lambda: self._marks.update_one({"_id": _ID}, begin, upsert=True), self._limits)
            found = with_retries(self._marks, read, self._limits)
        return found[0]["now"], found[0]["upTo"]

    def _note(self, until: datetime) -> None:
        change = {"$max": {"upTo": until}}
        with_retries(self._marks, lambda: self._marks.update_one({"_id": _ID}, change), self._limits)

    def _between(self, since: datetime, until: datetime) -> list[EndedAttempt]:
        query = ended_between(since, until)
        documents = with_retries(
            self._exports, lambda: [*self._exports.find(query, _FIELDS)], self._limits, name="find"
        )
        found = [
            _ended(document, entry)
            for document in documents
            for entry in document["attempts"]
            if "ended" in entry and since < entry["ended"] <= until and entry["status"] in FINAL
        ]
        return sorted(found, key=lambda attempt: (attempt.ended, attempt.export_id, attempt.attempt))


def _ended(document: Document, entry: Document) -> EndedAttempt:
    triggered = entry.get("triggered")
    return EndedAttempt(
        export_id=str(document["_id"]),
        campaign_id=document["campaignId"],
        campaign_name=document["campaignName"],
        export_type=document["exportType"],
        attempt=entry["attempt"],
        status=ExportStatus(entry["status"]),
        ended=entry["ended"],
        seconds=None if triggered is None else (entry["ended"] - triggered).total_seconds(),
        rows=entry.get("rows"),
        run_id=entry.get("runId"),
        error_code=entry.get("error", {}).get("code"),
        is_final=not is_followed(document, entry),
    )
