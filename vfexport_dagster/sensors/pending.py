"""PENDING exports -> run requests, oldest first: for each that has no run that lives."""

# No postponed annotations here: Dagster reads them when a sensor is declared.

from collections.abc import Iterable, Mapping

import dagster as dg

from vfexport_core.queue.models import Export
from vfexport_core.services.pending import Unserved, describe_waiting
from vfexport_core.services.reconcile_runs import Sightings
from vfexport_core.services.run_tags import longest_run, run_key
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.run_logging import log_export
from vfexport_dagster.runs import DagsterRuns
from vfexport_dagster.sensors import sensor
from vfexport_dagster.tags import requested_tags

# The daemon looks for sensors to evaluate every 5 s, whatever they say, so a tick that lasts almost a multiple of that
# leaves the queue unwatched for the shortest time. It must end long before the 60 s that the daemon waits for it, and
# cannot be told that Dagster is being stopped: whoever does that waits for the tick's end.
TICK_SECONDS = 9.0
_RETRY_SECONDS = 3.0


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


def build_pending_sensor(
    jobs: Mapping[str, dg.JobDefinition], *, tick_seconds: float = TICK_SECONDS
) -> dg.SensorDefinition:
    """Build the sensor for `jobs`, by export type."""
    ended = Sightings()
    job_names = {export_type: job.name for export_type, job in jobs.items()}

    @sensor(
        "pending_exports",
        1,
        "Asks for a run for each PENDING export, oldest first. Looks into the queue all the time.",
        jobs=list(jobs.values()),
    )
    def pending_exports(context: dg.SensorEvaluationContext, mongo: MongoResource) -> dg.SensorResult | dg.SkipReason:
        """Watch the queue until there is something to ask for, or the tick has lasted long enough."""
        backend = mongo.backend(retry_seconds=_RETRY_SECONDS)
        queue, settings = backend.queue, backend.settings
        ended.forget_unseen()
        unserved = Unserved(DagsterRuns(context.instance), ended)
        interval = settings.polling_interval_millis / 1000
        due = unserved.watch(queue, job_names, interval=interval, seconds=tick_seconds)
        if not due:
            return dg.SkipReason(describe_waiting(queue, job_names))
        for export, runs in due:
            log_export("run requested", export.correlation_id, export.id, runKey=run_key(export, runs))
        return dg.SensorResult(plan_requests(due, job_names, longest_run(settings.timeout_millis / 1000)))

    return pending_exports
