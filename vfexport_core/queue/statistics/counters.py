"""Counters over all exports that ever ended, kept up to date at a cost that does not grow with their number.

One document of the collection `exportFigures` holds the sums and the moment up to which they count. Whoever wants them
adds what ended since then, in one update on the condition that the moment is still the one that was read: every attempt
is counted once, whoever asks and however many do so at a time. The counters never go down, whatever becomes of the
exports. What ended during the last `CLOCK_SKEW_SECONDS` is left for the next time: a write becomes visible a little
after the moment that it carries, and after a failover that moment may be by a clock that is behind.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pymongo import ReturnDocument

from vfexport_core.errors import LeaseLost, SourceUnavailable, WorkerLost
from vfexport_core.mongo.own_collections import CLOCK_SKEW_SECONDS, COUNTERS, EXPORTS, open_owned
from vfexport_core.mongo.retry import DEFAULT_LIMITS, with_retries
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits

BOUNDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400, 86_400)
"""Upper bounds, in seconds, of the classes into which durations and waits are sorted."""

_ID = "exports"
_ABOVE = "more"
# At most an hour's exports are read at once, should nobody have asked for a long time.
_STEP = timedelta(hours=1)
_STEPS = 200
# Nothing ended: the moment need not move at every look.
_IDLE = timedelta(minutes=1)
_FIELDS = ("exportType", "attempts", "attempt", "queued")


@dataclass(frozen=True, slots=True)
class Durations:
    """How many lasted how long: `counts` by upper bound in seconds (the last, without a bound, under None)."""

    counts: Mapping[int | None, int]
    total_seconds: float

    @classmethod
    def from_document(cls, document: Document) -> Durations:
        counts: dict[str, int] = document.get("counts", {})
        named: dict[int | None, int] = {bound: counts.get(_class_name(bound), 0) for bound in (*BOUNDS, None)}
        return cls(named, document.get("sum", 0.0))


@dataclass(frozen=True, slots=True)
class Counters:
    """The sums over all attempts that ended until `up_to`; `now` is MongoDB's time when they were read."""

    now: datetime
    up_to: datetime
    ended: Mapping[tuple[str, ExportStatus], int]
    """By type and outcome."""
    retried: Mapping[str, int]
    """By type: how many of those that FAILED another attempt followed by itself."""
    rows: Mapping[str, int]
    bytes: Mapping[str, int]
    seconds: Mapping[str, Durations]
    """By type: how long attempts took that FINISHED."""
    waits: Durations
    """How long attempts were PENDING before they were claimed."""
    leases_lost: Mapping[str, int]
    """WorkerLost: a worker was not heard of; LeaseLost: a run noticed that it no longer owned its export."""

    @classmethod
    def from_document(cls, document: Document) -> Counters:
        ended: dict[str, dict[str, int]] = document.get("ended", {})
        return cls(
            now=document["now"],
            up_to=document["upTo"],
            ended={(kind, ExportStatus(name)): n for kind, by in ended.items() for name, n in by.items()},
            retried=document.get("retried", {}),
            rows=document.get("rows", {}),
            bytes=document.get("bytes", {}),
            seconds={kind: Durations.from_document(item) for kind, item in document.get("seconds", {}).items()},
            waits=Durations.from_document(document.get("waits", {})),
            leases_lost={name: document.get("lost", {}).get(name, 0) for name in (WorkerLost.code, LeaseLost.code)},
        )


@dataclass(slots=True)
class ExportCounters:
    """See the module. Its methods raise SourceUnavailable after as long as `limits` say, each.

    What ended less than `lag_seconds` ago is not counted yet.
    """

    database: Database[dict[str, Any]]
    limits: RetryLimits = DEFAULT_LIMITS
    lag_seconds: float = CLOCK_SKEW_SECONDS
    _counters: Any = field(init=False)
    _exports: Any = field(init=False)

    def __post_init__(self) -> None:
        self._counters = open_owned(self.database, COUNTERS)
        self._exports = open_owned(self.database, EXPORTS)

    def begin(self) -> None:
        """Begin to count from now on, unless it was begun before."""
        since = [{"$set": {"upTo": {"$ifNull": ["$upTo", "$$NOW"]}}}]
        self._retried(lambda: self._counters.update_one({"_id": _ID}, since, upsert=True))

    def read(self) -> Counters:
        """Bring the counters up to date and return them; a long backlog is worked off in several calls."""
        document = self._load()
        for _ in range(_STEPS):
            ahead = self._advance(document)
            if ahead is None:
                break
            document = ahead
        return Counters.from_document(document)

    def note_lease_lost(self) -> None:
        """Count a run that noticed that it no longer owns its export: its export's document does not tell of it."""
        self._retried(lambda: self._counters.update_one({"_id": _ID}, {"$inc": {f"lost.{LeaseLost.code}": 1}}))

    def _load(self) -> Document:
        pipeline = [{"$match": {"_id": _ID}}, {"$addFields": {"now": "$$NOW"}}]
        for _ in range(2):
            found: list[Document] = self._retried(lambda: [*self._counters.aggregate(pipeline)])
            if found:
                return found[0]
            self.begin()
        raise SourceUnavailable(f"collection {COUNTERS}: the counters could not be stored", payload=COUNTERS)

    def _advance(self, document: Document) -> Document | None:
        """Count the next hour's exports, or all until now; None when there is nothing to do."""
        now, since = document["now"], document["upTo"]
        until = min(now - timedelta(seconds=self.lag_seconds), since + _STEP)
        if until <= since:
            return None
        sums = self._ended_between(since, until)
        if not sums and until - since < _IDLE:
            return None
        change: Document = {"$set": {"upTo": until}} | ({"$inc": dict(sums)} if sums else {})
        changed = self._retried(
            lambda: self._counters.find_one_and_update(
                {"_id": _ID, "upTo": since}, change, return_document=ReturnDocument.AFTER
            )
        )
        # Somebody else has counted the same meanwhile (or we have, and the answer was lost): look again.
        return self._load() if changed is None else changed | {"now": now}

    def _ended_between(self, since: datetime, until: datetime) -> Counter[str]:
        documents = self._retried(lambda: [*self._exports.find(ended_between(since, until), _FIELDS)])
        return sums_of(documents, since, until)

    def _retried(self, operation: Any) -> Any:
        return with_retries(self._counters, operation, self.limits)


def ended_between(since: datetime, until: datetime) -> Document:
    """Return the condition for exports of which an attempt ended after `since`, until `until`."""
    return {
        # Says the same twice: the first is what the embedded server looks up in its index, the second bounds the
        # range on both sides in MongoDB's.
        "attempts.ended": {"$gt": since},
        "attempts": {"$elemMatch": {"ended": {"$gt": since, "$lte": until}}},
    }


def is_followed(document: Document, attempt: Document) -> bool:
    """Return whether another attempt followed one that ended by itself, in the step that ended it.

    Processes of earlier versions do not mark it so; then the next attempt has waited since that very moment. Needs
    `attempts`, `attempt` and `queued` of the document.
    """
    if attempt.get("followed", False):
        return True
    number = attempt["attempt"] + 1
    following = next((entry for entry in document["attempts"] if entry["attempt"] == number), {})
    of_current = document.get("queued") if document.get("attempt") == number else None
    return following.get("queued", of_current) == attempt["ended"]


def sums_of(documents: Iterable[Document], since: datetime, until: datetime) -> Counter[str]:
    """Add up the attempts that ended after `since`, until `until`, by the path of each counter in the document."""
    sums: Counter[str] = Counter()
    for document in documents:
        for attempt in document["attempts"]:
            if "ended" in attempt and since < attempt["ended"] <= until:
                if attempt["status"] == ExportStatus.FAILED and is_followed(document, attempt):
                    sums[f"retried.{document['exportType']}"] += 1
                for path, amount in _increments_of(document["exportType"], attempt):
                    sums[path] += amount
    return sums


def _increments_of(export_type: str, attempt: Document) -> Iterator[tuple[str, Any]]:
    status = attempt["status"]
    yield f"ended.{export_type}.{status}", 1
    if attempt.get("error", {}).get("code") == WorkerLost.code:
        yield f"lost.{WorkerLost.code}", 1
    triggered = attempt.get("triggered")
    if triggered is None:
        return
    if "queued" in attempt:
        yield from _duration("waits", attempt["queued"], triggered)
    if status == ExportStatus.FINISHED:
        yield from _duration(f"seconds.{export_type}", triggered, attempt["ended"])
        yield f"rows.{export_type}", attempt.get("rows", 0)
        yield f"bytes.{export_type}", attempt.get("bytes", 0)


def _duration(path: str, began: datetime, ended: datetime) -> Iterator[tuple[str, Any]]:
    seconds = max(0.0, (ended - began).total_seconds())
    bound = next((bound for bound in BOUNDS if seconds <= bound), None)
    yield f"{path}.counts.{_class_name(bound)}", 1
    yield f"{path}.sum", seconds


def _class_name(bound: int | None) -> str:
    # No bare number: in a path that would be a place in an array.
    return _ABOVE if bound is None else f"to{bound}"
