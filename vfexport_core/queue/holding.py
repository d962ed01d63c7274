"""What the run that holds an export does to it: every write is conditional on its claim, the fence (L6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo import ReturnDocument

from vfexport_core.errors import LeaseLost
from vfexport_core.queue import transitions
from vfexport_core.queue.models import Claim, Export, ExportStatus
from vfexport_core.queue.reading import ExportReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.database import Database

    from vfexport_core.queue.models import Delivered, Document
    from vfexport_core.queue.transitions import Transition

LEASE_SECONDS = 60.0
"""Longer than a worker's patience with MongoDB, so that nobody ends an export whose worker waits for an election."""
_MILLIS = 1_000


class ExportHolder(ExportReader):
    """The writes of whoever holds a claim.

    Claims, `progress` and `confirm` give a lease of `lease_seconds`, by MongoDB's clock: a run that has not been heard
    of for so long may be ended by anybody (`Releasing.release`).
    """

    def __init__(
        self,
        database: Database[dict[str, Any]],
        *,
        patience_seconds: float = 10.0,
        silent_seconds: float | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        super().__init__(database, patience_seconds=patience_seconds, silent_seconds=silent_seconds)
        self.lease_millis = round(lease_seconds * _MILLIS)

    def set_count(self, claim: Claim, count: int) -> None:
        """Note the preliminary number of rows; raises LeaseLost."""
        self._apply_fenced(claim, transitions.set_count(claim, count))

    def progress(self, claim: Claim, read: int, rows: int, bytes: int) -> Export:  # noqa: A002 named as the field
        """Note documents read, rows and bytes written, and renew the lease; raises LeaseLost."""
        transition = transitions.progress(claim, read, rows, bytes, self.lease_millis)
        return Export.from_document(self._apply_fenced(claim, transition))

    def note_keys(self, claim: Claim, bucket: str, keys: Sequence[str]) -> None:
        """Note what is about to be published, so that it can be found if the run dies; raises LeaseLost."""
        self._apply_fenced(claim, transitions.note_keys(claim, bucket, keys))

    def confirm(self, claim: Claim) -> Export:
        """Prove, at this moment and by a write, that the run still owns its export (L6), and renew the lease.

        Raises LeaseLost. The answer tells whether somebody asked to cancel the export.
        """
        return Export.from_document(self._apply_fenced(claim, transitions.confirm(claim, self.lease_millis)))

    def finish(self, claim: Claim, delivered: Delivered) -> Export:
        """TRIGGERED -> FINISHED with what was delivered (L7); raises LeaseLost. Finishing twice is finishing once."""
        return self._end(claim, ExportStatus.FINISHED, transitions.finish(claim, delivered))

    def fail(self, claim: Claim, error: Document, *, settled: bool = True) -> Export:
        """TRIGGERED -> FAILED with `error` {code, message, payload} (L5); raises LeaseLost.

        Not `settled`, here and below: the run may still have a request to S3 under way.
        """
        return self._close(claim, ExportStatus.FAILED, error, settled=settled)

    def expire(self, claim: Claim, error: Document | None = None, *, settled: bool = True) -> Export:
        """TRIGGERED -> EXPIRED (L4); raises LeaseLost."""
        return self._close(claim, ExportStatus.EXPIRED, error, settled=settled)

    def cancel(self, claim: Claim, error: Document | None = None, *, settled: bool = True) -> Export:
        """TRIGGERED -> CANCELED, by the run itself; raises LeaseLost."""
        return self._close(claim, ExportStatus.CANCELED, error, settled=settled)

    def _apply(self, transition: Transition) -> Document | None:
        """Apply a transition and give the changed document; None when its condition did not hold."""
        return self._persist(
            lambda: self._exports.find_one_and_update(
                transition.condition, transition.pipeline, return_document=ReturnDocument.AFTER
            )
        )

    def _apply_fenced(self, claim: Claim, transition: Transition) -> Document:
        document = self._apply(transition)
        if document is None:
            raise self._lost(claim)
        return document

    def _close(self, claim: Claim, status: ExportStatus, error: Document | None, *, settled: bool) -> Export:
        return self._end(claim, status, transitions.close(claim, status, error, settled=settled))

    def _end(self, claim: Claim, status: ExportStatus, transition: Transition) -> Export:
        """Apply a transition to a final status; the same end by the same claim is a repetition after a lost answer."""
        document = self._apply(transition)
        if document is None:
            same_end = transitions.fence(claim) | {"status": status.value}
            document = self._persist(lambda: self._exports.find_one(same_end))
        if document is None:
            raise self._lost(claim)
        return Export.from_document(document)

    def _lost(self, claim: Claim) -> LeaseLost:
        document = self._persist(lambda: self._exports.find_one({"_id": ObjectId(claim.export_id)}))
        state = "is gone" if document is None else f"is {document['status']} in attempt {document['attempt']}"
        return lease_lost(claim, state)


def lease_lost(claim: Claim, state: str) -> LeaseLost:
    """Make the error of a run that lost its export; `state` says what is known of it ("is gone", "is ...")."""
    return LeaseLost(
        f"run {claim.run_id} no longer owns attempt {claim.attempt} of export {claim.export_id}, which {state}",
        payload=claim.export_id,
    )
