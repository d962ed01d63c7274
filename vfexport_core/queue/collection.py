"""The `exports` collection, and the queue's only way to it: every operation is retried, and harmless to repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from bson import ObjectId
from pymongo import ReturnDocument

from vfexport_core.errors import ExportNotFound
from vfexport_core.mongo.document import NOW
from vfexport_core.mongo.own_collections import EXPORTS, open_owned
from vfexport_core.mongo.retry import with_retries
from vfexport_core.queue.models import Export
from vfexport_core.queue.transitions import retry_later

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pymongo.collection import Collection
    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits
    from vfexport_core.queue.models import AutoRetries
    from vfexport_core.queue.transitions import Transition

T = TypeVar("T")

PAYLOAD_LENGTH = 64
"""So much of what a caller sent comes back in an error."""


class ExportCollection:
    """The documents of one database; safe to share between threads.

    Any method may raise SourceUnavailable, after as long as `limits` say.
    """

    def __init__(self, database: Database[dict[str, Any]], limits: RetryLimits) -> None:
        self.documents: Collection[dict[str, Any]] = open_owned(database, EXPORTS)
        self.limits = limits

    def retried(self, operation: Callable[[], T], limits: RetryLimits | None = None, *, name: str = "update") -> T:
        """Return what `operation` returns, tried within `limits` or those of the collection."""
        return with_retries(self.documents, operation, limits or self.limits, name=name)

    def get(self, export_id: str, campaign_id: str | None = None) -> Export:
        """Return one export; raises ExportNotFound (also when an id is not an ObjectId, or of another campaign)."""
        query: Document = {"_id": parse_export_id(export_id)}
        if campaign_id is not None:
            query["campaignId"] = campaign_id.lower()
        document = self.find_one(query)
        if document is None:
            raise _not_found(export_id)
        return Export.from_document(document)

    def find_one(self, query: Document, fields: Sequence[str] | None = None) -> Document | None:
        """Return one document that meets `query`, or those `fields` of it and its id."""
        return self.retried(lambda: self.documents.find_one(query, fields), name="find")

    def find(
        self, query: Document, order: Sequence[tuple[str, int]], limit: int, fields: Sequence[str] | None = None
    ) -> list[Document]:
        """Return the first `limit` documents that meet `query`, or those `fields` of them and their ids."""
        return self.retried(lambda: [*self.documents.find(query, fields).sort(order).limit(limit)], name="find")

    def find_due(
        self, query: Document, order: Sequence[tuple[str, int]], limit: int, fields: Sequence[str] | None = None
    ) -> list[Document]:
        """Return the first `limit` documents that meet `query`, but for those that are to be retried later.

        `fields` are those that are read, with `retryAt`; without them all.
        """
        found = self.find(query, order, limit, fields)
        if all("retryAt" not in document for document in found):
            return found
        now = self.now()
        return [] if now is None else self.find(query | {"retryAt": {"$not": {"$gt": now}}}, order, limit, fields)

    def now(self) -> datetime | None:
        """Return MongoDB's time; None while there is no document."""
        return next((now for _, now, _ in self.find_with_now({}, limit=1)), None)

    def find_with_now(
        self, query: Document, limit: int, order: Document | None = None
    ) -> list[tuple[Export, datetime, datetime | None]]:
        """Return exports together with MongoDB's time, and when they are due to be cleaned up."""
        # A condition cannot name $$NOW everywhere (the embedded server takes it for a missing field); a stage can.
        in_order = [] if order is None else [{"$sort": order}]
        pipeline = [{"$match": query}, *in_order, {"$limit": limit}, {"$addFields": {"now": NOW}}]
        documents = self.retried(lambda: [*self.documents.aggregate(pipeline)], name="aggregate")
        return [(Export.from_document(document), document["now"], document.get("cleanupDue")) for document in documents]

    def apply(self, transition: Transition) -> Document | None:
        """Apply a transition and return the changed document; None when its condition did not hold."""
        return self.retried(lambda: self.apply_once(transition))

    def apply_once(self, transition: Transition) -> Document | None:
        """Do as `apply`, for whoever does the retries: raises PyMongoError."""
        return self.documents.find_one_and_update(
            transition.condition, transition.pipeline, return_document=ReturnDocument.AFTER
        )

    def end(self, transition: Transition, retries: AutoRetries) -> Document | None:
        """Apply what ends an attempt that a passing fault was met in, or have the next one follow if `retries` allow.

        Return the changed document; None when its condition did not hold.
        """
        followed = self.apply(retry_later(transition, retries)) if retries.most else None
        return followed or self.apply(transition)


def parse_export_id(export_id: str) -> ObjectId:
    """Read an export's id; raises ExportNotFound for anything that no export can have as its id."""
    if not ObjectId.is_valid(export_id):
        raise _not_found(export_id)
    return ObjectId(export_id)


def _not_found(export_id: object) -> ExportNotFound:
    return ExportNotFound("no such export", payload=str(export_id)[:PAYLOAD_LENGTH])
