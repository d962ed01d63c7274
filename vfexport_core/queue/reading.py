"""Reading the queue: one export, the running one, the waiting ones, pages of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from bson import ObjectId
from pymongo import DESCENDING

from vfexport_core.errors import ExportNotFound, InvalidRequest
from vfexport_core.mongo.collections import EXPORTS, open_owned
from vfexport_core.mongo.retry import RetryLimits, with_retries
from vfexport_core.queue import schema
from vfexport_core.queue.models import Export, ExportStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime, timedelta

    from pymongo.database import Database

    from vfexport_core.queue.models import Document

T = TypeVar("T")
Exports = list[Export]  # within the class `list` is the method

PAYLOAD_LENGTH = 64
MOST_WAITING = 10_000
Position = tuple["datetime", str]
Waiting = tuple[Position, str]


class ExportReader:
    """The `exports` collection of one database, read only; safe to share between threads.

    Any method may raise SourceUnavailable, after `patience_seconds` of trying at most; after `silent_seconds` when
    MongoDB does not answer at all (`RetryLimits`).
    """

    def __init__(
        self,
        database: Database[dict[str, Any]],
        *,
        patience_seconds: float = 10.0,
        silent_seconds: float | None = None,
    ) -> None:
        self._exports = open_owned(database, EXPORTS)
        self._limits = RetryLimits(patience_seconds, silent_seconds)

    def get(self, export_id: str, campaign_id: str | None = None) -> Export:
        """Return one export; raises ExportNotFound (also when an id is not an ObjectId, or of another campaign)."""
        query: Document = {"_id": object_id(export_id)}
        if campaign_id is not None:
            query["campaignId"] = campaign_id.lower()
        document = self._persist(lambda: self._exports.find_one(query))
        if document is None:
            raise _not_found(export_id)
        return Export.from_document(document)

    def running(self) -> Export | None:
        """Return the TRIGGERED export; there is one at most (L2)."""
        document = self._persist(lambda: self._exports.find_one({"status": ExportStatus.TRIGGERED.value}))
        return None if document is None else Export.from_document(document)

    def pending(self, limit: int) -> Exports:
        """Return the first `limit` PENDING exports in the order of the queue: oldest first."""
        query = {"status": ExportStatus.PENDING.value}
        return self._find(query, schema.ORDER, limit)

    def waiting(self) -> Sequence[Waiting]:
        """Return the places and types of the PENDING exports, in the order of the queue; at most `MOST_WAITING`."""
        query = {"status": ExportStatus.PENDING.value}
        found = self._persist(
            lambda: [*self._exports.find(query, ["date.created", "exportType"]).sort(schema.ORDER).limit(MOST_WAITING)]
        )
        return [((one["date"]["created"], str(one["_id"])), one["exportType"]) for one in found]

    def finished_since(self, moment: datetime, limit: int) -> Sequence[tuple[str, timedelta]]:
        """Return the types of up to `limit` exports that FINISHED after `moment`, and their durations; latest first."""
        query = {"status": ExportStatus.FINISHED.value, "date.finished": {"$gt": moment}}
        order = [("date.finished", DESCENDING)]
        found = self._persist(lambda: [*self._exports.find(query, ["exportType", "date"]).sort(order).limit(limit)])
        ran = [(one["exportType"], one["date"]) for one in found if "triggered" in one["date"]]
        return [(export_type, date["finished"] - date["triggered"]) for export_type, date in ran]

    def is_taken(self, export: Export, keys: Collection[str]) -> bool:
        """Whether another export of the same campaign and type has noted one of these keys for its files.

        Asked by the export that is TRIGGERED, of which there is one (L2); no other can note keys meanwhile (L6).
        """
        query: Document = {"campaignId": export.campaign_id, "exportType": export.export_type}
        query |= {"_id": {"$ne": ObjectId(export.id)}, "attempts.keys": {"$in": [*keys]}}
        return self._persist(lambda: self._exports.find_one(query, {"_id": 1})) is not None

    def list(
        self,
        *,
        campaign_id: str | None = None,
        export_type: str | None = None,
        status: ExportStatus | None = None,
        descending: bool = True,
        limit: int = 50,
        after: tuple[datetime, str] | None = None,
    ) -> Exports:
        """Give up to `limit` exports that fit, in the order of the queue or its reverse, from behind `after` on.

        `after` is `Export.position` of the last one seen: pages stay right while exports are added and removed.
        """
        wanted = {"campaignId": campaign_id and campaign_id.lower(), "exportType": export_type, "status": status}
        query: Document = {name: str(value) for name, value in wanted.items() if value is not None}
        order = schema.ORDER_NEWEST_FIRST if descending else schema.ORDER
        if after is None:
            return self._find(query, order, limit)
        # Two questions, each one stretch of the index; as one, with $or, not every server uses the index for it.
        ties, beyond = _behind(after, descending=descending)
        found = self._find(query | ties, order, limit)
        return found + self._find(query | beyond, order, limit - len(found)) if len(found) < limit else found

    def _find(self, query: Document, order: Sequence[tuple[str, int]], limit: int) -> Exports:
        documents = self._persist(lambda: [*self._exports.find(query).sort(order).limit(limit)])
        return [Export.from_document(document) for document in documents]

    def _persist(self, operation: Callable[[], T]) -> T:
        return with_retries(self._exports, operation, self._limits)


def _behind(after: tuple[datetime, str], *, descending: bool) -> tuple[Document, Document]:
    """Return the conditions for what is behind a position: of the same moment, and of the moments beyond."""
    created, export_id = after
    if not ObjectId.is_valid(export_id):
        raise InvalidRequest("the cursor is not one of ours", payload="cursor")
    beyond = "$lt" if descending else "$gt"
    return {"date.created": created, "_id": {beyond: ObjectId(export_id)}}, {"date.created": {beyond: created}}


def object_id(export_id: str) -> ObjectId:
    """Read an export's id; raises ExportNotFound for anything that no export can have as its id."""
    if not ObjectId.is_valid(export_id):
        raise _not_found(export_id)
    return ObjectId(export_id)


def _not_found(export_id: object) -> ExportNotFound:
    return ExportNotFound("no such export", payload=str(export_id)[:PAYLOAD_LENGTH])
