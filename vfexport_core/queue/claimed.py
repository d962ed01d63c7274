"""What the run that holds an export does to it: every write is conditional on its claim, the fence (L6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bson import ObjectId

from vfexport_core.errors import ExportCanceled, ExportExpired, LeaseLost, TransientError, error_document
from vfexport_core.queue import transitions
from vfexport_core.queue.models import NO_RETRIES, Export, ExportStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vfexport_core.mongo.document import Document
    from vfexport_core.queue.collection import ExportCollection
    from vfexport_core.queue.models import AutoRetries, Claim, Delivered
    from vfexport_core.queue.transitions import Transition


class ClaimedExport:
    """An export in the hands of the run that has claimed it; made by `ExportRepository.claimed`.

    `check_fence` and `progress` renew the lease by `lease_millis`, by MongoDB's clock; an attempt that a passing fault
    ends is followed by the next one as `retries` say. Any method may raise SourceUnavailable.
    """

    def __init__(
        self, exports: ExportCollection, claim: Claim, lease_millis: int, retries: AutoRetries = NO_RETRIES
    ) -> None:
        self.claim = claim
        self._retries = retries
        self._exports = exports
        self._lease_millis = lease_millis

    def read(self) -> Export:
        """Return the export as it is now, whoever holds it; raises ExportNotFound."""
        return self._exports.get(self.claim.export_id)

    def check_fence(self) -> Export:
        """Prove, at this moment and by a write, that the run still owns its export (L6), and renew the lease.

        Raises LeaseLost. What is returned tells whether somebody asked to cancel the export.
        """
        return Export.from_document(self._apply(transitions.check_fence(self.claim, self._lease_millis)))

    def set_count(self, count: int) -> None:
        """Note the preliminary number of rows; raises LeaseLost."""
        self._apply(transitions.set_count(self.claim, count))

    def progress(self, read: int, rows: int, bytes: int) -> Export:  # noqa: A002 named as the field
        """Note documents read, rows and bytes written, and renew the lease; raises LeaseLost."""
        return Export.from_document(
            self._apply(transitions.progress(self.claim, read, rows, bytes, self._lease_millis))
        )

    def note_keys(self, bucket: str, keys: Sequence[str]) -> None:
        """Note what is about to be published, so that it can be found if the run dies; raises LeaseLost."""
        self._apply(transitions.note_keys(self.claim, bucket, keys))

    def finish(self, delivered: Delivered) -> Export:
        """TRIGGERED -> FINISHED with what was delivered (L7); raises LeaseLost. Finishing twice is finishing once."""
        return self._end(ExportStatus.FINISHED, transitions.finish(self.claim, delivered))

    def fail(self, error: Document, *, drained: bool = True) -> Export:
        """TRIGGERED -> FAILED with `error` {code, message, payload} (L5); raises LeaseLost.

        Not `drained`, here and below: the run may still have a request to S3 under way.
        """
        return self._close(ExportStatus.FAILED, error, drained=drained)

    def expire(self, error: Document | None = None, *, drained: bool = True) -> Export:
        """TRIGGERED -> EXPIRED (L4); raises LeaseLost."""
        return self._close(ExportStatus.EXPIRED, error, drained=drained)

    def cancel(self, error: Document | None = None, *, drained: bool = True) -> Export:
        """TRIGGERED -> CANCELED, by the run itself; raises LeaseLost."""
        return self._close(ExportStatus.CANCELED, error, drained=drained)

    def end_by(self, error: BaseException, *, drained: bool = True) -> Export:
        """End it by what ended its run: CANCELED, EXPIRED or FAILED; one that was lost stays as it is.

        After a passing fault it is PENDING again, in the next attempt, as long as there may be one. Return the export
        as it is now. Raises ExportNotFound.
        """
        try:
            if isinstance(error, (KeyboardInterrupt, ExportCanceled)):
                return self.cancel(drained=drained)
            if isinstance(error, ExportExpired):
                return self.expire(error.as_dict(), drained=drained)
            if isinstance(error, TransientError):
                return self._fail_for_now(error, drained=drained)
            if not isinstance(error, LeaseLost):
                return self.fail(error_document(error), drained=drained)
        except LeaseLost:
            pass
        if drained:
            self.note_drained()
        return self.read()

    def note_drained(self) -> bool:
        """Note, for a lost attempt, that no request of it is under way any more; harmless to repeat."""
        return self._exports.apply(transitions.note_drained(self.claim)) is not None

    def _fail_for_now(self, error: TransientError, *, drained: bool) -> Export:
        """End the attempt as FAILED, and the export too unless another attempt follows; raises LeaseLost.

        That is raised as well for a repetition after a lost answer: then the export is in its next attempt.
        """
        end = transitions.close(self.claim, ExportStatus.FAILED, error.as_dict(), drained=drained)
        document = self._exports.end(end, self._retries)
        return self.fail(error.as_dict(), drained=drained) if document is None else Export.from_document(document)

    def _close(self, status: ExportStatus, error: Document | None, *, drained: bool) -> Export:
        return self._end(status, transitions.close(self.claim, status, error, drained=drained))

    def _apply(self, transition: Transition) -> Document:
        document = self._exports.apply(transition)
        if document is None:
            raise self._lost()
        return document

    def _end(self, status: ExportStatus, transition: Transition) -> Export:
        """Apply a transition to a final status; the same end by the same claim is a repetition after a lost answer."""
        document = self._exports.apply(transition)
        if document is None:
            already_applied = transitions.fence(self.claim) | {"status": status.value}
            document = self._exports.find_one(already_applied)
        if document is None:
            raise self._lost()
        return Export.from_document(document)

    def _lost(self) -> LeaseLost:
        document = self._exports.find_one({"_id": ObjectId(self.claim.export_id)})
        state = "is gone" if document is None else f"is {document['status']} in attempt {document['attempt']}"
        return lease_lost(self.claim, state)


def lease_lost(claim: Claim, state: str) -> LeaseLost:
    """Return the error of a run that lost its export; `state` says what is known of it ("is gone", "is ...")."""
    return LeaseLost(
        f"run {claim.run_id} no longer owns attempt {claim.attempt} of export {claim.export_id}, which {state}",
        payload=claim.export_id,
    )
