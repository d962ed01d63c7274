"""Runs that ended without recording it themselves -> the status of their exports (L4, L5).

An op records its own failures. What it cannot record: that its run was cancelled, took too long, lost its process, or
could not reach MongoDB. Dagster's run status sensors would do, but they go on after a failed tick as if the run had
been dealt with, and take one run at a time; this sensor moves its cursor only behind what is recorded.
"""

# No postponed annotations here: Dagster reads them when a sensor is declared.

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg

from vfexport_core.services.record_run_end import RunEnd, record_run_end
from vfexport_core.services.run_tags import ERROR, number_in
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.run_logging import log_export
from vfexport_dagster.sensors import sensor
from vfexport_dagster.tags import MAX_RUNTIME, read_tags

Cursor = dict[str, int]

_AT_ONCE = 100
_RETRY_SECONDS = 5.0
_ENDS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)
# How a run ends that got as far as failing by itself; any other failure was reported for it, by somebody who missed it.
_OWN_FAILURES = frozenset({"STEP_FAILURE", "RUN_EXCEPTION", "JOB_INITIALIZATION_FAILURE"})


def run_ends(instance: dg.DagsterInstance, cursor: Cursor) -> Iterator[tuple[str, int, RunEnd | None]]:
    """Yield the ends of runs behind `cursor`, oldest first: the event's type, its number, the end.

    The end is None when the run has been deleted meanwhile: then its export is as it was.
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
        run = instance.get_run_by_id(record_.event_log_entry.run_id)
        yield event.event_type_value, record_.storage_id, None if run is None else _run_end(run, event)


def build_outcome_sensor() -> dg.SensorDefinition:
    """Build the sensor."""

    @sensor("run_outcome", 1, "Records on the export how its run ended: cancelled, too long, failed or lost.")
    def run_outcome(context: dg.SensorEvaluationContext, mongo: MongoResource) -> dg.SkipReason:
        """Close the exports of all runs that ended since the last tick."""
        queue = mongo.backend(retry_seconds=_RETRY_SECONDS).queue
        cursor: Cursor = json.loads(context.cursor) if context.cursor else {}
        closed: list[str] = []
        for event_type, number, end in run_ends(context.instance, cursor):
            done = None if end is None else record_run_end(queue, end)
            if end is not None and done is not None:
                closed.append(f"{end.export_id} {done.status}")
                ids = (end.correlation_id, end.export_id)
                log_export("export closed", *ids, exportStatus=done.status, runId=end.run_id)
                if done.error_code is not None:
                    context.instance.add_run_tags(end.run_id, {ERROR: done.error_code})
            cursor[event_type] = number
            context.update_cursor(json.dumps(cursor))
        return dg.SkipReason(", ".join(closed) or "no run ended that left its export open")

    return run_outcome


def _run_end(run: dg.DagsterRun, event: dg.DagsterEvent) -> RunEnd:
    is_canceled = event.event_type is dg.DagsterEventType.RUN_CANCELED
    data: Any = None if is_canceled else event.event_specific_data
    reason = getattr(data, "failure_reason", None)
    return RunEnd.from_tags(
        read_tags(run),
        message=event.message or f"the run ended as {run.status.value}",
        is_canceled=is_canceled,
        max_seconds=number_in(run.tags, MAX_RUNTIME),
        failed_by_itself=reason is not None and reason.value in _OWN_FAILURES,
        report=_report(getattr(data, "first_step_failure_event", None)),
    )


def _report(event: dg.DagsterEvent | None) -> dict[str, Any]:
    """Return what the failed op said of its error (`error_report`), which MongoDB may not have taken from it."""
    user_data: Any = getattr(event and event.event_specific_data, "user_failure_data", None)
    return {name: value.value for name, value in user_data.metadata.items()} if user_data else {}
