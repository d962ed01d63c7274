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
from vfexport_core.queue.holding import ExportHolder
from vfexport_core.queue.models import Export, ExportStatus

if TYPE_CHECKING:
    from datetime import datetime

    from vfexport_core.queue.models import Document

SETTLE_SECONDS = 900.0
"""After so long nothing that a lost worker had under way can still arrive at S3: putting the parts of a large file
together takes S3 several minutes, whether anybody waits for its answer or not."""

_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Unclean:
    """An export with lost attempts that may have left something on S3, as it was at `now` by MongoDB's clock."""

    export: Export
    due: datetime
    now: datetime


def verdict(export: Export, now: datetime, timeout_millis: int) -> tuple[ExportStatus, Document | None] | None:
    """Report how a TRIGGERED export has to end, if it has to: EXPIRED (L4), CANCELED, or FAILED as WorkerLost."""
    triggered = export.date.triggered or export.date.created
    if now - triggered >= timedelta(milliseconds=timeout_millis):
        error = ExportExpired(f"the export took longer than {timeout_millis} ms", payload=export.id)
        return ExportStatus.EXPIRED, error.as_dict()
    if export.lease_until is not None and now < export.lease_until:
        return None
    if export.cancel_requested is not None:
        return ExportStatus.CANCELED, None
    lost = WorkerLost(f"run {export.run_id} was not heard of until its lease ran out", payload=export.run_id)
    return ExportStatus.FAILED, lost.as_dict()


class Releasing(ExportHolder):
    """The writes of a watchdog; see the module."""

    def release(self, timeout_millis: int) -> Export | None:
        """End the TRIGGERED export if it has run for too long or its lease ran out; give it as it ended."""
        found = self._with_now({"status": ExportStatus.TRIGGERED.value}, limit=1)
        for export, now, _ in found:
            end = verdict(export, now, timeout_millis)
            if end is None:
                continue
            document = self._apply(transitions.release(export, *end))
            if document is not None:
                return Export.from_document(document)
        return None

    def unclean(self) -> list[Unclean]:
        """Return exports whose lost attempts have to be cleaned up now."""
        found = self._with_now({"cleanupDue": {"$exists": True}}, limit=_AT_ONCE)
        return [Unclean(export, due, now) for export, now, due in found if due is not None and due <= now]

    def cleaned(self, unclean: Unclean, settle_seconds: float = SETTLE_SECONDS) -> bool:
        """Note that nothing is left of the lost attempts; True when that is final.

        What ended less than `settle_seconds` ago is due again then: a worker that was stopped when it lost its export
        may still get rid of a request.
        """
        ends = [attempt.ended for attempt in unclean.export.attempts if attempt.is_lost and attempt.ended]
        settled = max(ends, default=unclean.due) + timedelta(seconds=settle_seconds)
        again = None if settled <= unclean.now else settled
        return self._apply(transitions.clean_up(unclean.export, unclean.due, again=again)) is not None and again is None

    def _with_now(
        self, query: Document, limit: int, sort: Document | None = None
    ) -> list[tuple[Export, datetime, datetime | None]]:
        """Read exports together with MongoDB's time, and when their cleaning is due."""
        # A condition cannot name $$NOW everywhere (the embedded server takes it for a missing field); a stage can.
        in_order = [] if sort is None else [{"$sort": sort}]
        pipeline = [{"$match": query}, *in_order, {"$limit": limit}, {"$addFields": {"now": transitions.NOW}}]
        documents = self._persist(lambda: [*self._exports.aggregate(pipeline)])
        return [(Export.from_document(document), document["now"], document.get("cleanupDue")) for document in documents]
