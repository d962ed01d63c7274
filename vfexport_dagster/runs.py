"""Dagster's runs, as `vfexport_core.services` looks at them and writes to them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from vfexport_core.catalog import all_specs
from vfexport_core.services import run_tags
from vfexport_core.services.orchestrator_runs import Run, RunState
from vfexport_core.services.record_run_end import RunEnd
from vfexport_dagster import tags
from vfexport_dagster.tags import read_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from vfexport_core.queue.models import Export
    from vfexport_core.services.run_tags import RunTags

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
LIVE = [status for status in dg.DagsterRunStatus if status not in ENDED]
_WAITING = frozenset({dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED})
_AT_ONCE = 200
_BAD_ENDS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)
# How a run ends that got as far as failing by itself; any other failure was reported for it, by somebody who missed it.
_OWN_FAILURES = frozenset({"STEP_FAILURE", "RUN_EXCEPTION", "JOB_INITIALIZATION_FAILURE"})
DELETION_JOB = "ccpa_deletion"


@dataclass(frozen=True, slots=True)
class DagsterRuns:
    """The `Orchestrator`, with its `EndedRuns` and its `RunHistory`, that is a Dagster instance."""

    instance: dg.DagsterInstance

    def live_runs(self) -> Iterator[Run]:
        runs = self.instance.get_runs(dg.RunsFilter(statuses=LIVE), limit=_AT_ONCE, ascending=True)
        return (_run_of(run) for run in runs if export_type_of(run) is not None or run_tags.PROCESS in run.tags)

    def requested_runs(self, exports: Sequence[Export]) -> Iterator[Run]:
        found = self.instance.get_runs(dg.RunsFilter(tags={run_tags.EXPORT_ID: [export.id for export in exports]}))
        return (run for run in map(_run_of, found) if run.requested_attempt is not None)

    def cancel_waiting(self, run: Run, why: str) -> None:
        self.instance.add_run_tags(run.run_id, {run_tags.WITHDRAWN: why})
        self.instance.report_run_canceled(self._found(run), message=f"Not needed any more: {why}.")

    def place(self, run: Run, export: Export | None, seconds: float) -> None:
        found = RecordedRun(self.instance, self._found(run))
        self.instance.add_run_tags(run.run_id, tags.placed_tags(found.run, found.asked(), export, seconds))

    def tell(self, run: Run, text: str) -> None:
        self.instance.report_engine_event(text, self._found(run))

    def report_lost(self, run: Run, why: str) -> None:
        self.instance.add_run_tags(run.run_id, {run_tags.LOST: "true"})
        self.instance.report_run_failed(self._found(run), message=f"Ended: {why}.")

    def resuming_run(self) -> Run | None:
        for run in self.instance.get_runs(dg.RunsFilter(job_name=DELETION_JOB, statuses=LIVE), limit=1):
            # One that is starting is missed by Dagster's own monitoring.
            is_starting = run.status is dg.DagsterRunStatus.STARTING
            return dataclasses.replace(_run_of(run), state=RunState.WAITING) if is_starting else _run_of(run)
        return None

    def ends_behind(self, cursor: Mapping[str, int]) -> Iterator[tuple[str, int, RunEnd | None]]:
        filters = [dg.RunStatusChangeRecordsFilter(end, after_storage_id=cursor.get(end.value)) for end in _BAD_ENDS]
        changes = [self.instance.fetch_run_status_changes(one, limit=_AT_ONCE, ascending=True) for one in filters]
        records = (record for change in changes for record in change.records)
        for record in sorted(records, key=lambda record: record.storage_id):
            event = record.event_log_entry.get_dagster_event()
            run = self.instance.get_run_by_id(record.run_id)
            yield event.event_type_value, record.storage_id, None if run is None else _run_end(run, event)

    def note_error(self, run_id: str, code: str) -> None:
        self.instance.add_run_tags(run_id, {run_tags.ERROR: code})

    def ended_before(self, moment: datetime) -> Sequence[str]:
        return self.instance.get_run_ids(dg.RunsFilter(statuses=ENDED, created_before=moment))

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
        if run_tags.EXPORT_ID in self.run.tags:
            return self.run.tags[run_tags.EXPORT_ID]
        parent = self.instance.get_run_by_id(self.run.parent_run_id or "")
        return None if parent is None else parent.tags.get(run_tags.EXPORT_ID)

    def asked(self) -> datetime | None:
        record = self.instance.get_run_record_by_id(self.run.run_id)
        return None if record is None else record.create_timestamp

    def note_export(self, export: Export) -> None:
        if self.about.export_id != export.id:
            known = tags.requested_tags(export, 0)
            del known[run_tags.ATTEMPT], known[tags.MAX_RUNTIME]  # it holds neither yet
            self.instance.add_run_tags(self.run.run_id, known)

    def note_claimed(self, export: Export, seconds: float) -> None:
        self.instance.add_run_tags(self.run.run_id, tags.requested_tags(export, run_tags.longest_run(seconds)))

    def supersede(self, run_ids: Sequence[str], by: str) -> None:
        for run in self.instance.get_runs(dg.RunsFilter(run_ids=run_ids)):
            if run_tags.SUPERSEDED not in run.tags and run.status is not dg.DagsterRunStatus.SUCCESS:
                self.instance.add_run_tags(run.run_id, {run_tags.SUPERSEDED: by})

    def withdraw(self, why: str) -> None:
        self.instance.add_run_tags(self.run.run_id, {run_tags.WITHDRAWN: why})


def export_type_of(run: dg.DagsterRun) -> str | None:
    """Return the type of export that a run's job is for; None for another job."""
    return next((spec.type for spec in all_specs() if spec.job_name == run.job_name), None)


def _run_of(run: dg.DagsterRun) -> Run:
    state = RunState.ENDED if run.is_finished else RunState.WAITING if run.status in _WAITING else RunState.BEGUN
    is_stopping = run.status is dg.DagsterRunStatus.CANCELING
    return Run.from_tags(read_tags(run), state, export_type_of(run) or "", is_stopping=is_stopping)


def _run_end(run: dg.DagsterRun, event: dg.DagsterEvent) -> RunEnd:
    data: Any = event.event_specific_data
    reason = getattr(data, "failure_reason", None)
    return RunEnd.from_tags(
        read_tags(run),
        message=event.message or f"the run ended as {run.status.value}",
        is_canceled=event.event_type is dg.DagsterEventType.RUN_CANCELED,
        max_seconds=run_tags.number_in(run.tags, tags.MAX_RUNTIME),
        failed_by_itself=reason is not None and reason.value in _OWN_FAILURES,
        report=_report(getattr(data, "first_step_failure_event", None)),
    )


def _report(event: dg.DagsterEvent | None) -> dict[str, Any]:
    """Return what the failed op said of its error (`error_report`), which MongoDB may not have taken from it."""
    user_data: Any = getattr(event and event.event_specific_data, "user_failure_data", None)
    return {name: value.value for name, value in user_data.metadata.items()} if user_data else {}
