"""Taking exports out of the queue for good, or out of their worker's hands: what the deletion of a fan's data needs.

Every write is conditional on what was read, so that whatever a run, a retry or a reaper did in between counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bson import ObjectId

from vfexport_core.queue import schema, transitions
from vfexport_core.queue.models import FINAL, Export

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from vfexport_core.mongo.document import Document
    from vfexport_core.queue.collection import ExportCollection


class ExportRemoval:
    """The reads and writes of a deletion; see the module. Its methods raise SourceUnavailable."""

    def __init__(self, exports: ExportCollection) -> None:
        self._exports = exports

    def campaign_ids(self) -> list[str]:
        """Return the campaigns that have exports, each once."""
        return self._exports.retried(lambda: self._exports.documents.distinct("campaignId"), name="distinct")

    def of_campaigns(
        self, campaign_ids: Sequence[str], types: Sequence[str], after: tuple[datetime, str] | None, limit: int
    ) -> list[tuple[Export, datetime]]:
        """Return exports of these campaigns, oldest first, from behind `after` on, each with MongoDB's time.

        Of 200 campaigns at most: so many ranges of its index does MongoDB merge in order.
        """
        query: Document = {"campaignId": {"$in": list(campaign_ids)}, "exportType": {"$in": list(types)}}
        if after is not None:
            created, export_id = after
            ties: list[Document] = [{"date.created": {"$gt": created}}, {"_id": {"$gt": ObjectId(export_id)}}]
            query |= {"date.created": {"$gte": created}, "$or": ties}
        found = self._exports.find_with_now(query, limit, dict(schema.ORDER))
        return [(export, now) for export, now, _ in found]

    def ended_before(self, age: timedelta, after: tuple[datetime, str] | None, limit: int) -> list[Export]:
        """Return exports that ended longer ago than `age`, by MongoDB's clock; oldest first, from behind `after` on."""
        now = self._exports.now()
        if now is None:
            return []
        oldest = now - age
        query: Document = {"status": {"$in": sorted(FINAL)}, "date.created": {"$lt": oldest}}
        query |= {transitions.DATE_FIELDS[status]: {"$not": {"$gte": oldest}} for status in FINAL}
        if after is not None:
            created, export_id = after
            ties: list[Document] = [{"date.created": {"$gt": created}}, {"_id": {"$gt": ObjectId(export_id)}}]
            query |= {"date.created": {"$gte": created, "$lt": oldest}, "$or": ties}
        return [Export.from_document(document) for document in self._exports.find(query, schema.ORDER, limit)]

    def requeue(self, export: Export, error: Document) -> Export | None:
        """End the running attempt as CANCELED and queue the next one, in one step; its worker finds its claim gone.

        None when the export has changed since it was read. One that somebody wants to be cancelled is CANCELED.
        """
        document = self._exports.apply(transitions.requeue(export, error))
        return None if document is None else Export.from_document(document)

    def remove(self, export: Export) -> bool:
        """Delete the document, unless it has changed since it was read; True also if an earlier try has done it."""
        unchanged = {"_id": ObjectId(export.id), "status": export.status.value, "attempt": export.attempt}
        documents = self._exports.documents
        tries = 0

        def delete() -> bool:
            nonlocal tries
            tries += 1
            if documents.delete_one(unchanged).deleted_count:
                return True
            # The answer of the try before may have been lost.
            return tries > 1 and documents.find_one({"_id": unchanged["_id"]}, {"_id": 1}) is None

        return self._exports.retried(delete, name="delete")
