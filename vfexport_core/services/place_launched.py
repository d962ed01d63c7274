"""A run that a person launched by hand waits in the place of its export, like any other's (L9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.errors import ExportNotClaimable, SourceUnavailable, VfexportError
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.statistics.estimates import Estimator
from vfexport_core.services.claim import check_type
from vfexport_core.services.launch import request_launched

if TYPE_CHECKING:
    from vfexport_core.queue.models import Export
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.services.launch import Launch
    from vfexport_core.services.orchestrator_runs import Orchestrator, Run


def place_launched(run: Run, launch: Launch, backend: Backend, orchestrator: Orchestrator) -> str:
    """Queue the export of a run that a person launched, that waits, and have it wait in that export's place.

    A run that could have no export begins all the same in its turn, and then fails and says why. Returns what was done;
    raises SourceUnavailable.
    """
    seconds = backend.settings.timeout_millis / 1_000
    try:
        export = _export_of(backend, launch, run.run_id)
    except SourceUnavailable:
        raise
    except VfexportError as error:
        orchestrator.place(run, None, seconds)
        orchestrator.tell(run, f"This run has no export yet: {error.description}")
        return f"run {run.run_id} has no export: {error.code}"
    # At once: an export without a run would be given one.
    orchestrator.place(run, export, seconds)
    estimate = Estimator(backend.queue).estimate(export)
    orchestrator.tell(
        run, f"Export {export.id} of {export.campaign_name or export.campaign_id}: {estimate or 'begun'}."
    )
    return f"run {run.run_id} waits for export {export.id}"


def _export_of(backend: Backend, launch: Launch, run_id: str) -> Export:
    launch.check()
    if launch.export_id is None:
        export, _ = request_launched(backend, launch, run_id)
    else:
        export = backend.queue.get(launch.export_id)
    check_type(export, launch.export_type)
    if export.status is not ExportStatus.PENDING:
        raise ExportNotClaimable(f"export {export.id} is {export.status}", payload=export.id)
    return export
