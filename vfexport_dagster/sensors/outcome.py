"""Runs that ended without recording it themselves -> the status of their exports (L4, L5).

An op records its own failures. What it cannot record: that its run was cancelled, took too long, lost its process, or
could not reach MongoDB. Dagster's run status sensors would do, but they go on after a failed tick as if the run had
been dealt with, and take one run at a time; this sensor moves its cursor only behind what is recorded.
"""

# No postponed annotations here: Dagster reads them when a sensor is declared.

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from vfexport_core.errors import ExportExpired, ExportNotFound, RunFailed, SourceUnavailable, WorkerLost
from vfexport_core.queue.models import ExportStatus
from vfexport_dagster import tags
from vfexport_dagster.lines import tell_of
from vfexport_dagster.resources import MongoResource

if TYPE_CHECKING:
    from vfexport_core.queue.store import ExportStore

Cursor = dict[str, int]
Error = dict[str, str | None]

_AT_ONCE = 100
_PATIENCE_SECONDS = 5.0
_ENDS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)
# How a run ends that got as far as failing by itself; any other failure was reported for it, by somebody who missed it.
_OWN_FAILURES = frozenset({"STEP_FAILURE", "RUN_EXCEPTION", "JOB_INITIALIZATION_FAILURE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ended, as far as its export is concerned; times in seconds."""

    run_id: str
    is_canceled: bool
    message: str
    tags: Mapping[str, str]
    is_reexecution: bool = False
    started: float | None = None
    ended: float
    reason: str | None = None
    step_error: Error | None = None

    @property
    def took_too_long(self) -> bool:
        limit = self.tags.get(tags.MAX_RUNTIME, "")
        return self.started is not None and limit.isdecimal() and self.ended - self.started >= int(limit)


def decide(end: RunEnd) -> tuple[ExportStatus, Error | None]:
    """Give the status that an export gets by the end of the run that held it, and the error for it."""
    if end.took_too_long:
        limit = end.tags[tags.MAX_RUNTIME]
        return ExportStatus.EXPIRED, ExportExpired(f"the run took longer than {limit} s", payload=end.run_id).as_dict()
    if end.is_canceled:
        return ExportStatus.CANCELED, None
    if end.step_error is not None:
        return ExportStatus.FAILED, end.step_error
    failure = RunFailed if end.reason in _OWN_FAILURES else WorkerLost
    return ExportStatus.FAILED, failure(end.message, payload=end.run_id).as_dict()


def record(store: "ExportStore", end: RunEnd) -> ExportStatus | None:
    """Close the export of a run; None when there was nothing left to close. Doing it again is harmless.

    A PENDING export, which the run should have claimed, ends with its run, unless the run was lost: then nothing is
    wrong with the export, and the watchdog has another run asked for. Raises SourceUnavailable.
    """
    status, error = decide(end)
    is_lost = error is not None and error["code"] == WorkerLost.code
    attempt = None if is_lost else tags.requested_attempt(end.tags, is_reexecution=end.is_reexecution)
    try:
        closed = store.close_run(end.tags.get(tags.EXPORT_ID, ""), end.run_id, status, error, attempt)
    except ExportNotFound:  # the run never came to know its export, or somebody typed the tag
        return None
    return status if closed else None


def run_ends(instance: dg.DagsterInstance, cursor: Cursor) -> Iterator[tuple[str, int, RunEnd | None]]:
    """Yield the ends of runs behind `cursor`, oldest first: the event's type, its number, and the end.

    The end is None when the run has been deleted meanwhile.
    """
    records = [
        record
        for event_type in _ENDS
        for record in instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(event_type, after_storage_id=cursor.get(event_type.value)),
            limit=_AT_ONCE,
            ascending=True,
        ).records
    ]
    for record_ in sorted(records, key=lambda record: record.storage_id):
        event = record_.event_log_entry.get_dagster_event()
        yield event.event_type_value, record_.storage_id, _run_end(instance, record_.event_log_entry, event)


def build_outcome_sensor() -> dg.SensorDefinition:
    """Build the sensor."""

    @dg.sensor(
        name="run_outcome",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=1,
        description="Records on the export how its run ended: cancelled, too long, failed or lost.",
    )
    def run_outcome(context: dg.SensorEvaluationContext, mongo: MongoResource) -> dg.SkipReason:
        """Close the exports of all runs that ended since the last tick."""
        store = mongo.store(patience_seconds=_PATIENCE_SECONDS)
        cursor: Cursor = json.loads(context.cursor) if context.cursor else {}
        closed: list[str] = []
        for event_type, number, end in run_ends(context.instance, cursor):
            try:
                status = record(store, end) if end is not None else None
            except SourceUnavailable as error:
                return dg.SkipReason(f"{error.code}: {error.message}. {error.hint}")
            if end is not None and status is not None:
                export_id = end.tags[tags.EXPORT_ID]
                closed.append(f"{export_id} {status}")
                correlation_id = end.tags.get(tags.CORRELATION_ID)
                tell_of("export closed", correlation_id, export_id, exportStatus=status.value, runId=end.run_id)
            cursor[event_type] = number
            context.update_cursor(json.dumps(cursor))
        return dg.SkipReason(", ".join(closed) or "no run ended that left its export open")

    return run_outcome


def _run_end(instance: dg.DagsterInstance, entry: dg.EventLogEntry, event: dg.DagsterEvent) -> RunEnd | None:
    run_record = instance.get_run_record_by_id(entry.run_id)
    if run_record is None:
        return None
    run = run_record.dagster_run
    is_canceled = event.event_type is dg.DagsterEventType.RUN_CANCELED
    data: Any = None if is_canceled else event.event_specific_data
    reason = getattr(data, "failure_reason", None)
    return RunEnd(
        run_id=run.run_id,
        is_canceled=is_canceled,
        message=event.message or f"the run ended as {run.status.value}",
        tags=run.tags,
        is_reexecution=run.parent_run_id is not None,
        started=run_record.start_time,
        ended=entry.timestamp,
        reason=None if reason is None else reason.value,
        step_error=_step_error(getattr(data, "first_step_failure_event", None)),
    )


def _step_error(event: dg.DagsterEvent | None) -> Error | None:
    """Give the error that the failed op described, which MongoDB may not have taken from it."""
    user_data: Any = getattr(event and event.event_specific_data, "user_failure_data", None)
    values = {name: value.value for name, value in user_data.metadata.items()} if user_data else {}
    if "code" not in values:
        return None
    return {name: values.get(name) for name in ("code", "message", "payload")}
