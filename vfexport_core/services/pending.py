"""What PENDING exports need of an orchestrator: a run for each that has none that lives; and where they stand."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfexport_core.queue.statistics.estimates import Estimator
from vfexport_core.services.hanging_buckets import claimable
from vfexport_core.services.reconcile_runs import AHEAD, RunRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.services.orchestrator_runs import Orchestrator
    from vfexport_core.services.reconcile_runs import Sightings

_TOLD = 5


@dataclass(slots=True)
class Unserved:
    """Which PENDING exports need a run; what has one is not looked at again, so an object is for a few seconds only."""

    orchestrator: Orchestrator
    ended: Sightings
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _served: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    def among(self, exports: Iterable[Export]) -> list[tuple[Export, int]]:
        """Return those that need one, each with how many of its runs have ended before they claimed it."""
        unknown = [export for export in exports if (export.id, export.attempt) not in self._served]
        requests = RunRequests.of(self.orchestrator, unknown)
        due = [export for export in unknown if requests.due(export, self.ended)]
        self._served |= {(export.id, export.attempt) for export in unknown if export not in due}
        return [(export, len(requests.of_export(export))) for export in due]

    def watch(
        self, queue: ExportRepository, types: Collection[str], *, interval: float, seconds: float
    ) -> list[tuple[Export, int]]:
        """Look every `interval` until exports of these types need a run; none when `seconds` are over.

        Raises SourceUnavailable.
        """
        deadline = self.clock() + seconds
        while True:
            due = [
                (export, runs) for export, runs in self.among(claimable(queue, AHEAD)) if export.export_type in types
            ]
            if due or self.clock() + interval >= deadline:
                return due
            self.sleep(interval)


def due_exports(
    backend: Backend, orchestrator: Orchestrator, ended: Sightings, types: Collection[str], *, seconds: float
) -> list[tuple[Export, int]]:
    """Watch the queue until exports of these types need a run, and return them as `Unserved` does; at most `seconds`.

    `ended` is what an earlier call has left: for how long runs have been seen that ended. Raises SourceUnavailable.
    """
    ended.forget_unseen()
    interval = backend.settings.polling_interval_millis / 1000
    return Unserved(orchestrator, ended).watch(backend.queue, types, interval=interval, seconds=seconds)


def describe_waiting(queue: ExportRepository, types: Collection[str]) -> str:
    """Return where the first PENDING exports stand and when they start, that none waits, or that the queue is paused.

    Raises SourceUnavailable. `types` are those that anything runs here.
    """
    pause = queue.pause.read()
    if pause is not None:
        return str(pause)
    waiting, estimator = queue.pending(_TOLD + 1), Estimator(queue)
    told = [f"{_name(export)}: {estimator.estimate(export) or 'begun'}" for export in waiting[:_TOLD]]
    if len(waiting) > _TOLD:
        told.append("and others behind them")
    unknown = {export.export_type for export in waiting} - {*types}
    if unknown:
        told.append(f"nothing runs these types here: {', '.join(sorted(unknown))}")
    return "; ".join(told) or "no export is PENDING"


def _name(export: Export) -> str:
    return f"{export.export_type} of {export.campaign_name or export.campaign_id}"
