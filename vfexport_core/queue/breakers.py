"""Circuit breakers: exports into a bucket that is known to hang wait, while those into others run.

A bucket without a document is closed: all is well. It is *open* once an attempt gave it up; then none of its exports is
claimed, until a small probe has succeeded, which is due after a while that doubles with every failure in a row. Then it
is *half-open*: the next export into it decides, by ending well (closed) or giving it up once more (open). All of that
is by MongoDB's clock, so that every process sees the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vfexport_core.catalog import all_specs
from vfexport_core.mongo.document import NOW
from vfexport_core.mongo.own_collections import BREAKERS, open_owned
from vfexport_core.mongo.retry import DEFAULT_LIMITS, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits

FIRST_PROBE_SECONDS = 10
"""It must be longer than a probe may take: who takes one has so long for it."""
LONGEST_SECONDS = 120

_OPEN, _HALF_OPEN = "open", "half-open"
_MILLIS = 1_000


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A bucket, by its name in the catalog, whose exports wait; `since` and `probe_due` by MongoDB's clock."""

    bucket: str
    since: datetime
    probe_due: datetime
    failures: int

    def __str__(self) -> str:
        return f"bucket {self.bucket} has hung since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class BucketBreakers:
    """The breakers of all buckets; any method may raise SourceUnavailable, after as long as `limits` say."""

    def __init__(self, database: Database[dict[str, Any]], limits: RetryLimits = DEFAULT_LIMITS) -> None:
        self._documents = open_owned(database, BREAKERS)
        self._limits = limits

    def all_open(self) -> dict[str, OpenBreaker]:
        """Return the buckets whose exports wait, by name."""
        found = self._retried(lambda: [*self._documents.find({"state": _OPEN})])
        return {document["_id"]: _breaker(document) for document in found}

    def waiting_types(self) -> dict[str, OpenBreaker]:
        """Return the export types whose exports wait, each with its bucket's breaker."""
        return waiting_types(self.all_open())

    def trip(self, bucket: str) -> None:
        """Open it: an attempt gave the bucket up."""
        change: Document = {"state": _OPEN, "since": {"$ifNull": ["$since", NOW]}} | _failed()
        self._retried(lambda: self._documents.update_one({"_id": bucket}, [{"$set": change}], upsert=True))

    def take_probe(self, can_probe: Callable[[str], bool] = bool) -> str | None:
        """Return a bucket that is due to be probed, to one of all who ask and can; then the next pause begins."""
        pipeline = [{"$match": {"state": _OPEN}}, {"$addFields": {"now": NOW}}]
        for document in self._retried(lambda: [*self._documents.aggregate(pipeline)]):
            if document["probeDue"] > document["now"] or not can_probe(document["_id"]):
                continue
            seen = {"_id": document["_id"], "state": _OPEN, "probeDue": document["probeDue"]}
            taken = self._retried(lambda seen=seen: self._documents.update_one(seen, [{"$set": _failed()}]))
            if taken.modified_count:
                return document["_id"]
        return None

    def half_open(self, bucket: str) -> None:
        """Let the next export try it: its probe succeeded."""
        found = {"_id": bucket, "state": _OPEN}
        self._retried(lambda: self._documents.update_one(found, {"$set": {"state": _HALF_OPEN}}))

    def close(self, bucket: str) -> None:
        """Forget that it hung: an export into it ended well."""
        self._retried(lambda: self._documents.delete_one({"_id": bucket}))

    def _retried(self, operation: Callable[[], Any]) -> Any:
        return with_retries(self._documents, operation, self._limits)


def waiting_types(found: Mapping[str, OpenBreaker]) -> dict[str, OpenBreaker]:
    """Return the export types of buckets that were found open, each with its breaker."""
    return {spec.type: found[spec.bucket] for spec in all_specs() if spec.bucket in found} if found else {}


def _failed() -> Document:
    """Return what one more failure changes."""
    before: Document = {"$ifNull": ["$failures", 0]}
    pause = {"$multiply": [FIRST_PROBE_SECONDS * _MILLIS, {"$pow": [2, {"$min": [before, 20]}]}]}
    due = {"$add": [NOW, {"$min": [LONGEST_SECONDS * _MILLIS, pause]}]}
    return {"failures": {"$add": [before, 1]}, "probeDue": due}


def _breaker(document: Document) -> OpenBreaker:
    return OpenBreaker(document["_id"], document["since"], document["probeDue"], document["failures"])
