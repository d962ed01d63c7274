"""Exports whose worker is late or gone: ended by whoever comes by, decided by MongoDB's clock alone (L4, L5).

Anybody may look at any time, also several at once: the condition of the update is what was read, so that of two who
decide the same one does it, and a worker that is heard of in between keeps its export.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from vfexport_core.errors import ExportExpired, WorkerLost
from vfexport_core.queue import transitions
from vfexport_core.queue.models import NO_RETRIES, Export, ExportStatus

if TYPE_CHECKING:
    from datetime import datetime

    from vfexport_core.mongo.document import Document
    from vfexport_core.queue.collection import ExportCollection
    from vfexport_core.queue.models import AutoRetries

CLEANUP_GRACE_SECONDS = 900.0
"""After so long nothing that a lost worker had under way can still arrive at S3: putting the parts of a large file
together takes S3 several minutes, whether anybody waits for its answer or not."""

_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class PendingCleanup:
    """An export with lost attempts that may have left something on S3, as it was at `now` by MongoDB's clock."""

    export: Export
    due: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class StopReason:
    """How a TRIGGERED export has to end, and with which error {code, message, payload}."""

    status: ExportStatus
    error: Document | None


def stop_reason(export: Export, now: datetime, timeout_millis: int) -> StopReason | None:
    """Return how a TRIGGERED export has to end, if it has to: EXPIRED (L4), CANCELED, or FAILED as WorkerLost."""
    triggered = export.date.triggered or export.date.created
    if now - triggered >= timedelta(milliseconds=timeout_millis):
        error = ExportExpired(f"the export took longer than {timeout_millis} ms", payload=export.id)
        return StopReason(ExportStatus.EXPIRED, error.as_dict())
    if export.lease_until is not None and now < export.lease_until:
        return None
    if export.cancel_requested is not None:
        return StopReason(ExportStatus.CANCELED, None)
    lost = WorkerLost(f"run {export.run_id} was not heard of until its lease ran out", payload=export.run_id)
    return StopReason(ExportStatus.FAILED, lost.as_dict())


class ExportReaper:
    """The writes of a reaper; see the module. Its methods raise SourceUnavailable.

    A lost attempt is followed by the next one as `retries` say.
    """

    def __init__(self, exports: ExportCollection, retries: AutoRetries = NO_RETRIES) -> None:
        self._exports = exports
        self._retries = retries

    def reap(self, timeout_millis: int) -> Export | None:
        """End the TRIGGERED export if it has run for too long or its lease ran out; return it as it is then.

        One whose worker was lost is PENDING in its next attempt, unless there were too many in a row.
        """
        found = self._exports.find_with_now({"status": ExportStatus.TRIGGERED.value}, limit=1)
        for export, now, _ in found:
            reason = stop_reason(export, now, timeout_millis)
            if reason is None:
                continue
            end = transitions.reap(export, reason.status, reason.error)
            is_lost = reason.status is ExportStatus.FAILED
            document = self._exports.end(end, self._retries) if is_lost else self._exports.apply(end)
            if document is not None:
                return Export.from_document(document)
        return None

    def pending_cleanups(self) -> list[PendingCleanup]:
        """Return exports whose lost attempts have to be cleaned up now."""
        found = self._exports.find_with_now({"cleanupDue": {"$exists": True}}, limit=_AT_ONCE)
        return [PendingCleanup(export, due, now) for export, now, due in found if due is not None and due <= now]

    def note_cleaned(self, cleanup: PendingCleanup, grace_seconds: float = CLEANUP_GRACE_SECONDS) -> bool:
        """Note that nothing is left of the lost attempts; True when that is final.

        What ended less than `grace_seconds` ago is due again then: a worker that was stopped when it lost its export
        may still get rid of a request.
        """
        ends = [attempt.ended for attempt in cleanup.export.attempts if attempt.is_lost and attempt.ended]
        certain = max(ends, default=cleanup.due) + timedelta(seconds=grace_seconds)
        again = None if certain <= cleanup.now else certain
        transition = transitions.note_cleaned(cleanup.export, cleanup.due, again=again)
        return self._exports.apply(transition) is not None and again is None
