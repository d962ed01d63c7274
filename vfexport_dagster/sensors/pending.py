"""PENDING exports -> run requests, oldest first: for each that has no run that lives."""

# No postponed annotations here: Dagster reads them when a sensor is declared.

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from vfexport_core.errors import SourceUnavailable
from vfexport_core.queue.models import Export
from vfexport_core.services.hanging_buckets import claimable
from vfexport_core.services.reconcile import AHEAD, Orchestrator, Requests, Sightings
from vfexport_dagster import tags
from vfexport_dagster.config import launch_config
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.run_logging import log_export
from vfexport_dagster.runs import DagsterRuns

# The daemon looks for sensors to evaluate every 5 s, whatever they say, so a tick that lasts almost a multiple of that
# leaves the queue unwatched for the shortest time. It must end long before the 60 s that the daemon waits for it, and
# cannot be told that Dagster is being stopped: whoever does that waits for the tick's end.
TICK_SECONDS = 9.0
_RETRY_SECONDS = 3.0


@dataclass(slots=True)
class Unserved:
    """Which PENDING exports need a run; what has one is looked at again in the next tick, not at every poll."""

    orchestrator: Orchestrator
    ended: Sightings
    _served: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    def among(self, exports: Iterable[Export]) -> list[tuple[Export, int]]:
        """Return those that need one, each with how many of its runs have ended before they claimed it."""
        unknown = [export for export in exports if (export.id, export.attempt) not in self._served]
        requests = Requests.of(self.orchestrator, unknown)
        due = [export for export in unknown if requests.due(export, self.ended)]
        self._served |= {(export.id, export.attempt) for export in unknown if export not in due}
        return [(export, len(requests.of_export(export))) for export in due]


def plan_requests(
    unserved: Iterable[tuple[Export, int]], job_names: Mapping[str, str], max_runtime: float
) -> list[dg.RunRequest]:
    """Return a run request for each export that has a job, in their order."""
    return [
        dg.RunRequest(
            run_key=tags.run_key(export, runs),
            job_name=job_names[export.export_type],
            run_config=launch_config(export.id),
            tags=tags.export_tags(export, max_runtime),
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

    @dg.sensor(
        name="pending_exports",
        jobs=list(jobs.values()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=1,
        description="Asks for a run for each PENDING export, oldest first. Looks into the queue all the time.",
    )
    def pending_exports(context: dg.SensorEvaluationContext, mongo: MongoResource) -> dg.SensorResult | dg.SkipReason:
        """Watch the queue until there is something to ask for, or the tick has lasted long enough."""
        store = mongo.store(retry_seconds=_RETRY_SECONDS)
        interval = mongo.settings.polling_interval_millis / 1000
        unserved = Unserved(DagsterRuns(context.instance), ended)
        ended.forget_unseen()
        deadline = time.monotonic() + tick_seconds
        while True:
            try:
                new = unserved.among(claimable(store, AHEAD))
            except SourceUnavailable as error:
                return dg.SkipReason(f"{error.code}: {error.message}. {error.hint}")
            requests = plan_requests(new, job_names, tags.longest_run(mongo.settings.timeout_millis / 1000))
            if requests:
                for export, runs in new:
                    if export.export_type in job_names:
                        log_export("run requested", export.correlation_id, export.id, runKey=tags.run_key(export, runs))
                return dg.SensorResult(run_requests=requests)
            if time.monotonic() + interval >= deadline:
                return dg.SkipReason(_nothing([export for export, _ in new]))
            time.sleep(interval)

    return pending_exports


def _nothing(unknown: Sequence[Export]) -> str:
    if not unknown:
        return "no PENDING export without a run"
    types = ", ".join(sorted({export.export_type for export in unknown}))
    return f"{len(unknown)} PENDING exports are of types that have no job here: {types}"
