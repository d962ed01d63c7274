"""Runs that people launch by hand: the export that each is for, and its place in the queue, like any other's (L9)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from vfexport_core.catalog import find_spec
from vfexport_core.errors import ExportNotClaimable, InvalidRequest, SourceUnavailable, VfexportError
from vfexport_core.queue.audit import Actor
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.statistics.estimates import Estimator
from vfexport_core.services import exports
from vfexport_core.services.claim import check_not_running, check_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vfexport_core.queue.models import Export
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.services.reconcile_runs import Orchestrator, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a run was launched for: an export that is queued already, or a campaign of which one is to be queued."""

    export_type: str
    export_id: str | None = None
    campaign_id: str | None = None
    date_key: str | None = None
    include_all_markets: bool = False

    @classmethod
    def from_config(cls, export_type: str, config: Mapping[str, Any]) -> Self:
        """Read a run's configuration; what is left blank was not given, and a date key may be a number."""
        date_key = config.get("date_key")
        return cls(
            export_type=export_type,
            export_id=config.get("export_id") or None,
            campaign_id=config.get("campaign_id") or None,
            date_key=None if date_key is None or date_key == "" else str(date_key),
            include_all_markets=bool(config.get("include_all_markets")),
        )

    def check(self) -> None:
        """Raise InvalidRequest for a launch that says nothing, or too much."""
        if (self.export_id is None) == (self.campaign_id is None):
            raise InvalidRequest(
                "give a campaign_id, or the export_id of an export that is PENDING", payload="campaign_id"
            )
        if self.export_id and (self.date_key is not None or self.include_all_markets):
            raise InvalidRequest(
                "date_key and include_all_markets go with campaign_id; a queued export has its own", payload="export_id"
            )


def request_launched(backend: Backend, launch: Launch, run_id: str) -> tuple[Export, bool]:
    """Queue the export of a campaign that a run was launched for, or return the equal one that waits; True when new.

    A run has one export, however often and by whomever this is called: its id follows from the run's. Raises
    ExportNotClaimable when another run has the equal one, and what `exports.request` raises.
    """
    request = exports.ExportRequest(
        spec=find_spec(launch.export_type),
        campaign_id=launch.campaign_id or "",
        date_key=launch.date_key,
        include_all_markets=launch.include_all_markets,
        by=Actor("dagster", "dagster", run_id),
        id=hashlib.sha256(run_id.encode()).hexdigest()[:24],
    )
    export, created = exports.request(backend, request)
    check_not_running(export, run_id)
    return export, created


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
