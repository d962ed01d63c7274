"""Dagster's runs, as `vfexport_core.services` looks at them and writes to them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

import dagster as dg

from vfexport_core.catalog import all_specs
from vfexport_core.services.orchestrator_runs import Run, RunState
from vfexport_core.services.run_tags import ATTEMPT, EXPORT_ID, LOST, PROCESS, SUPERSEDED, WITHDRAWN, longest_run
from vfexport_dagster import tags
from vfexport_dagster.tags import read_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from vfexport_core.queue.models import Export
    from vfexport_core.services.run_tags import RunTags

LIVE = (
    *(dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING),
    *(dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING),
)
_WAITING = frozenset({dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED})
_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_AT_ONCE = 200
DELETION_JOB = "ccpa_deletion"


@dataclass(frozen=True, slots=True)
class DagsterRuns:
    """The `Orchestrator`, and the `RunHistory`, that is a Dagster instance."""

    instance: dg.DagsterInstance

    def live_runs(self) -> Iterator[Run]:
        runs = self.instance.get_runs(dg.RunsFilter(statuses=list(LIVE)), limit=_AT_ONCE, ascending=True)
        return (_run_of(run) for run in runs if export_type_of(run) is not None or PROCESS in run.tags)

    def requested_runs(self, exports: Sequence[Export]) -> Iterator[Run]:
        wanted = dg.RunsFilter(tags={EXPORT_ID: [export.id for export in exports]})
        for record in self.instance.get_run_records(wanted):
            run = _run_of(record.dagster_run)
            if run.requested_attempt is not None:
                yield run

    def cancel_waiting(self, run: Run, why: str) -> None:
        self.instance.add_run_tags(run.run_id, {WITHDRAWN: why})
        self.instance.report_run_canceled(self._found(run), message=f"Not needed any more: {why}.")

    def place(self, run: Run, export: Export | None, seconds: float) -> None:
        found = RecordedRun(self.instance, self._found(run))
        self.instance.add_run_tags(run.run_id, tags.placed_tags(found.run, found.asked(), export, seconds))

    def tell(self, run: Run, text: str) -> None:
        self.instance.report_engine_event(text, self._found(run))

    def report_lost(self, run: Run, why: str) -> None:
        self.instance.add_run_tags(run.run_id, {LOST: "true"})
        self.instance.report_run_failed(self._found(run), message=f"Ended: {why}.")

    def resuming_run(self) -> Run | None:
        filters = dg.RunsFilter(job_name=DELETION_JOB, statuses=list(LIVE))
        for run in self.instance.get_runs(filters, limit=1):
            # One that is starting is missed by Dagster's own monitoring.
            is_starting = run.status is dg.DagsterRunStatus.STARTING
            return dataclasses.replace(_run_of(run), state=RunState.WAITING) if is_starting else _run_of(run)
        return None

    def ended_before(self, moment: datetime) -> Iterator[str]:
        cursor: str | None = None
        while True:
            filters = dg.RunsFilter(statuses=list(_ENDED), created_before=moment)
            records = self.instance.get_run_records(filters, limit=_AT_ONCE, cursor=cursor)
            yield from (record.dagster_run.run_id for record in records)
            if len(records) < _AT_ONCE:
                return
            cursor = records[-1].dagster_run.run_id

    def forget(self, run_id: str) -> None:
        self.instance.delete_run(run_id)

    def _found(self, run: Run) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None, "it was found a moment ago"
        return found


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The `RunRecord` of a run in a Dagster instance."""

    instance: dg.DagsterInstance
    run: dg.DagsterRun

    @property
    def about(self) -> RunTags:
        return read_tags(self.run)

    def earlier_export_id(self) -> str | None:
        if EXPORT_ID in self.run.tags:
            return self.run.tags[EXPORT_ID]
        parent = self.instance.get_run_by_id(self.run.parent_run_id or "")
        return None if parent is None else parent.tags.get(EXPORT_ID)

    def asked(self) -> datetime | None:
        record = self.instance.get_run_record_by_id(self.run.run_id)
        moment = None if record is None else record.create_timestamp
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

    def note_export(self, export: Export) -> None:
        if self.about.export_id != export.id:
            known = tags.requested_tags(export, 0)
            del known[ATTEMPT], known[tags.MAX_RUNTIME]  # it holds neither yet
            self.instance.add_run_tags(self.run.run_id, known)

    def note_claimed(self, export: Export, seconds: float) -> None:
        self.instance.add_run_tags(self.run.run_id, tags.requested_tags(export, longest_run(seconds)))

    def supersede(self, run_ids: Sequence[str], by: str) -> None:
        for run in self.instance.get_runs(dg.RunsFilter(run_ids=run_ids)):
            if SUPERSEDED not in run.tags and run.status is not dg.DagsterRunStatus.SUCCESS:
                self.instance.add_run_tags(run.run_id, {SUPERSEDED: by})

    def withdraw(self, why: str) -> None:
        self.instance.add_run_tags(self.run.run_id, {WITHDRAWN: why})


def export_type_of(run: dg.DagsterRun) -> str | None:
    """Return the type of export that a run's job is for; None for another job."""
    return next((spec.type for spec in all_specs() if spec.job_name == run.job_name), None)


def _run_of(run: dg.DagsterRun) -> Run:
    state = RunState.ENDED if run.is_finished else RunState.WAITING if run.status in _WAITING else RunState.BEGUN
    is_stopping = run.status is dg.DagsterRunStatus.CANCELING
    return Run.from_tags(read_tags(run), state, export_type_of(run) or "", is_stopping=is_stopping)
