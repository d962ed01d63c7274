"""How an attempt ends by what ended its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.errors import ExportCanceled, ExportExpired, LeaseLost, error_document

if TYPE_CHECKING:
    from vfexport_core.queue.models import Claim, Export
    from vfexport_core.queue.store import ExportStore


def end_attempt(store: ExportStore, claim: Claim, error: BaseException, *, settled: bool = True) -> Export:
    """End a claimed export by what ended its run: CANCELED, EXPIRED or FAILED; one that was lost stays as it is.

    `settled`: the run has no request to S3 under way, which is noted in either case. Gives the export as it is now.
    Raises SourceUnavailable, ExportNotFound.
    """
    try:
        if isinstance(error, (KeyboardInterrupt, ExportCanceled)):
            return store.cancel(claim, settled=settled)
        if isinstance(error, ExportExpired):
            return store.expire(claim, error.as_dict(), settled=settled)
        if not isinstance(error, LeaseLost):
            return store.fail(claim, error_document(error), settled=settled)
    except LeaseLost:
        pass
    if settled:
        store.settle(claim)
    return store.get(claim.export_id)
