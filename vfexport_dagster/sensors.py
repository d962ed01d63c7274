"""The sensors: when Dagster asks core what is to be done, and what an operator is told of it.

Each is built by a function, for what it remembers from one tick to the next is this process' own. Core is imported
where it loads a driver only when a tick needs it: the definitions load without.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import dagster as dg

from vfexport_core.errors import SourceUnavailable
from vfexport_core.services.pending import describe_waiting, due_exports
from vfexport_core.services.reconcile_runs import Reconciler, Sightings
from vfexport_core.services.record_run_end import record_run_ends
from vfexport_core.services.run_tags import longest_run, run_key
from vfexport_core.settings import may_have_webhooks
from vfexport_core.telemetry.export_log import log_export
from vfexport_dagster.assets import observe_deletion
from vfexport_dagster.maintenance import deletion_job
from vfexport_dagster.runs import DagsterRuns
from vfexport_dagster.tags import requested_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vfexport_core.queue.models import Export
    from vfexport_core.services.bootstrap import Backend

# The daemon looks for sensors to evaluate every 5 s, whatever they say, so a tick that lasts almost a multiple of that
# leaves the queue unwatched for the shortest time. It must end long before the 60 s that the daemon waits for it, and
# cannot be told that Dagster is being stopped: whoever does that waits for the tick's end.
TICK_SECONDS = 9.0
NOTIFYING_SECONDS = 10
IDLE_SECONDS = 60
"""A tick is rows and commits in Dagster's database. No more seldom: the doctor calls a sensor late after 3 minutes."""
RETRY_SECONDS = 3.0
"""For how long a tick tries to reach MongoDB; the next one comes soon."""


def sensor(
    name: str, seconds: int, description: str, evaluate: Callable[..., Any], *, uses: tuple[str, ...] = (), **jobs: Any
) -> dg.SensorDefinition:
    """Declare a sensor that is on by default, and that says so and goes on later while MongoDB is away.

    `evaluate` is called with the context of a tick and the `Backend` (with the buckets if it `uses` them), and returns
    what is asked of Dagster, or a text that says why nothing is.
    """

    def evaluated(context: dg.SensorEvaluationContext) -> Any:
        mongo, *buckets = (getattr(context.resources, key) for key in ("mongo", *uses))
        try:
            found = evaluate(context, mongo.backend(*buckets, retry_seconds=RETRY_SECONDS))
        except SourceUnavailable as error:
            found = error.description
        return dg.SkipReason(found) if isinstance(found, str) else found

    return dg.SensorDefinition(
        name=name,
        evaluation_fn=evaluated,
        minimum_interval_seconds=seconds,
        description=description,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"mongo", *uses},
        **jobs,
    )


def build_pending_sensor(
    jobs: Mapping[str, dg.JobDefinition], *, tick_seconds: float = TICK_SECONDS
) -> dg.SensorDefinition:
    """Build the sensor that asks for a run for each PENDING export without one that lives; `jobs` are by type."""
    ended = Sightings()
    job_names = {export_type: job.name for export_type, job in jobs.items()}

    def watch(context: dg.SensorEvaluationContext, backend: Backend) -> dg.SensorResult | str:
        """Watch the queue until there is something to ask for, or the tick has lasted long enough."""
        due = due_exports(backend, DagsterRuns(context.instance), ended, job_names, seconds=tick_seconds)
        for export, runs in due:
            log_export("run requested", export.correlation_id, export.id, runKey=run_key(export, runs))
        requests = plan_requests(due, job_names, longest_run(backend.settings.timeout_millis / 1000))
        return dg.SensorResult(requests) if requests else describe_waiting(backend.queue, job_names)

    text = "Asks for a run for each PENDING export, oldest first. Looks into the queue all the time."
    return sensor("pending_exports", 1, text, watch, jobs=[*jobs.values()])


def plan_requests(
    unserved: Iterable[tuple[Export, int]], job_names: Mapping[str, str], max_runtime: float
) -> list[dg.RunRequest]:
    """Return a run request for each export that has a job, in their order; Dagster ends it after `max_runtime` s."""
    return [
        dg.RunRequest(
            run_key=run_key(export, runs),
            job_name=job_names[export.export_type],
            run_config={"export_id": export.id},
            tags=requested_tags(export, max_runtime),
        )
        for export, runs in unserved
        if export.export_type in job_names
    ]


def build_outcome_sensor() -> dg.SensorDefinition:
    """Build the sensor that closes the exports of runs which ended without recording it themselves (L4, L5).

    An op records its own failures. What it cannot record: that its run was cancelled, took too long, lost its process,
    or could not reach MongoDB. Dagster's run status sensors would do, but they go on after a failed tick as if the run
    had been dealt with, and take one run at a time; this sensor moves its cursor only behind what is recorded.
    """

    def record(context: dg.SensorEvaluationContext, backend: Backend) -> str:
        told = record_run_ends(backend.queue, DagsterRuns(context.instance), context.cursor, context.update_cursor)
        return ", ".join(told) or "no run ended that left its export open"

    text = "Records on the export how its run ended: cancelled, too long, failed or lost."
    return sensor("run_outcome", 1, text, record)


def build_reaper_sensor() -> dg.SensorDefinition:
    """Build the sensor that ends what is late or lost (``services.reap``, ``services.reconcile_runs``)."""
    drift = Sightings()

    def look(context: dg.SensorEvaluationContext, backend: Backend) -> str:
        from vfexport_core.services.reap import reconcile  # noqa: PLC0415 see the module

        told = [*reconcile(Reconciler(DagsterRuns(context.instance), backend, drift))]
        context.update_cursor(json.dumps(drift.names()))  # for people alone
        return "; ".join(told) or "no export is late or lost"

    text = "Ends exports that take too long or lost their worker, cleans up after them, and ends their runs."
    # The specification's word for it. Dagster keeps by it whether the sensor is on: another name would be a new sensor,
    # switched on again where somebody has switched this one off.
    return sensor("export_watchdog", 2, text, look, uses=("buckets",))


def build_deletion_sensor(begun: Sightings | None = None) -> dg.SensorDefinition:
    """Build the sensor that asks for the runs of `deletion_job`, until each open deletion is complete.

    `begun` is for how long its runs have been seen at work. There is one such run at a time; it has no run key, for the
    same deletion may need many.
    """
    seen = begun or Sightings()

    def look(context: dg.SensorEvaluationContext, backend: Backend) -> dg.RunRequest | str:
        from vfexport_core.services.delete_user import newly_completed, why_no_run  # noqa: PLC0415 see the module

        for cursor, deletion in newly_completed(backend.deletions, context.cursor):
            observe_deletion(context.instance, deletion)
            context.update_cursor(cursor)
        return why_no_run(backend.deletions, DagsterRuns(context.instance), seen) or dg.RunRequest()

    text = "Asks for a run that takes open CCPA deletions up again, in their turn."
    return sensor("ccpa_deletions", 10, text, look, job=deletion_job)


def build_notification_sensor() -> dg.SensorDefinition:
    """Build the sensor that tells webhooks; it ticks seldom when none is set where the definitions are loaded."""

    def tell(_: dg.SensorEvaluationContext, backend: Backend) -> str:
        from vfexport_core.services.notifications import look  # noqa: PLC0415 see the module

        return str(look(backend))

    text = "Tells the webhooks that are set of exports that ended, lost workers and late deletions."
    return sensor("notifications", NOTIFYING_SECONDS if may_have_webhooks() else IDLE_SECONDS, text, tell)
