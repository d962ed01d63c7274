"""Taking exports out of the queue for good, or out of their worker's hands: what the deletion of a fan's data needs.

Every write is conditional on what was read, so that whatever a run, a retry or a watchdog did in between counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bson import ObjectId

from vfexport_core.queue import schema, transitions
from vfexport_core.queue.models import Claim, Export, ExportStatus
from vfexport_core.queue.transitions import Transition
from vfexport_core.queue.watchdog import Releasing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from vfexport_core.queue.models import Document


class Withdrawing(Releasing):
    """The writes of a deletion, and of a worker that lost its export to one; see the module."""

    def campaign_ids(self) -> list[str]:
        """Return the campaigns that have exports, each once."""
        return self._persist(lambda: self._exports.distinct("campaignId"))

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
        return [(export, now) for export, now, _ in self._with_now(query, limit, dict(schema.ORDER))]

    def take_back(self, export: Export, error: Document) -> Export | None:
        """End the running attempt as CANCELED and queue the next one, in one step; its worker finds its claim gone.

        None when the export has changed since it was read. One that somebody wants to be cancelled is CANCELED.
        """
        document = self._apply(_take_back(export, error))
        return None if document is None else Export.from_document(document)

    def settle(self, claim: Claim) -> bool:
        """Note, for the worker of a lost attempt, that no request of it is under way; harmless to repeat."""
        return self._apply(_settle(claim)) is not None

    def remove(self, export: Export) -> bool:
        """Delete the document, unless it has changed since it was read; True also if an earlier try has done it."""
        unchanged = {"_id": ObjectId(export.id), "status": export.status.value, "attempt": export.attempt}
        tries = 0

        def delete() -> bool:
            nonlocal tries
            tries += 1
            if self._exports.delete_one(unchanged).deleted_count:
                return True
            # The answer of the try before may have been lost.
            return tries > 1 and self._exports.find_one({"_id": unchanged["_id"]}, {"_id": 1}) is None

        return self._persist(delete)


def _take_back(export: Export, error: Document) -> Transition:
    """TRIGGERED -> PENDING, or CANCELED if that was asked for; what the lost attempt leaves on S3 is cleaned up."""
    fence = transitions.fence(Claim(export.id, export.attempt, export.run_id or ""))
    entry = transitions.ended(ExportStatus.CANCELED, error)
    change: Document = {"attempts": transitions.in_current_attempt(entry), "cleanupDue": transitions.NOW}
    if export.cancel_requested is not None:
        canceled = ExportStatus.CANCELED
        change |= {"status": canceled.value, transitions.DATE_FIELDS[canceled]: transitions.NOW}
        return Transition(fence, [{"$set": change}])
    not_asked = {"cancelRequested": {"$exists": False}}
    return Transition(fence | not_asked, [{"$set": change}, *transitions.next_attempt(export.attempt)])


def _settle(claim: Claim) -> Transition:
    mine = {
        "$and": [{"$eq": ["$$entry.attempt", claim.attempt]}, {"$eq": ["$$entry.runId", {"$literal": claim.run_id}]}]
    }
    settled = {"$mergeObjects": ["$$entry", {"settled": True}]}
    attempts = {"$map": {"input": "$attempts", "as": "entry", "in": {"$cond": [mine, settled, "$$entry"]}}}
    condition = {"_id": ObjectId(claim.export_id), "attempts": {"$elemMatch": {"attempt": claim.attempt}}}
    return Transition(condition, [{"$set": {"attempts": attempts}}])
