"""Dagster's runs, as `vfexport_core.services.reconcile` looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from vfexport_core.services.reconcile import Run, RunState
from vfexport_dagster import tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vfexport_core.queue.models import Export

LIVE = (
    *(dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING),
    *(dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING),
)
_WAITING = frozenset({dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED})
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class DagsterRuns:
    """The `Orchestrator` that is a Dagster instance."""

    instance: dg.DagsterInstance

    def live_runs(self) -> Iterator[Run]:
        runs = self.instance.get_runs(dg.RunsFilter(statuses=list(LIVE)), limit=_AT_ONCE, ascending=True)
        return (_run_of(run) for run in runs if tags.EXPORT_TYPE in run.tags)

    def requested_runs(self, exports: Sequence[Export]) -> Iterator[Run]:
        wanted = dg.RunsFilter(tags={tags.EXPORT_ID: [export.id for export in exports]})
        for record in self.instance.get_run_records(wanted):
            run = _run_of(record.dagster_run)
            if run.requested_attempt is not None:
                yield run

    def cancel_waiting(self, run: Run, why: str) -> None:
        self.instance.add_run_tags(run.run_id, {tags.WITHDRAWN: why})
        self.instance.report_run_canceled(self._found(run), message=f"Not needed any more: {why}.")

    def report_lost(self, run: Run, why: str) -> None:
        self.instance.add_run_tags(run.run_id, {tags.LOST: "true"})
        self.instance.report_run_failed(self._found(run), message=f"Ended by the reaper: {why}.")

    def _found(self, run: Run) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None, "it was found a moment ago"
        return found


def _run_of(run: dg.DagsterRun) -> Run:
    state = RunState.ENDED if run.is_finished else RunState.WAITING if run.status in _WAITING else RunState.BEGUN
    return Run(
        run_id=run.run_id,
        state=state,
        export_id=run.tags.get(tags.EXPORT_ID, ""),
        requested_attempt=tags.requested_attempt(run),
        was_lost=tags.LOST in run.tags,
        was_withdrawn=tags.WITHDRAWN in run.tags,
    )
