"""PENDING exports -> run requests: oldest first, one per export and attempt."""

# No postponed annotations here: Dagster reads them when a sensor is declared.

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from vfexport_core.errors import SourceUnavailable
from vfexport_core.queue.models import Export
from vfexport_dagster import tags
from vfexport_dagster.config import launch_config
from vfexport_dagster.lines import tell
from vfexport_dagster.resources import MongoResource

AHEAD = 25
"""So many exports wait in Dagster's own queue, where the next one begins without the sensor's help."""

# The daemon looks for sensors to evaluate every 5 s, whatever they say, so a tick that lasts almost a multiple of that
# leaves the queue unwatched for the shortest time. It must end long before the 60 s that the daemon waits for it, and
# cannot be told that Dagster is being stopped: whoever does that waits for the tick's end.
TICK_SECONDS = 9.0
_PATIENCE_SECONDS = 3.0


@dataclass(slots=True)
class Requested:
    """Which run keys have a run: those seen before, and those that `lookup` finds."""

    lookup: Callable[[Sequence[str]], Iterable[str]]
    _known: set[str] = field(default_factory=set[str])

    def without(self, exports: Sequence[Export]) -> list[Export]:
        """Give the exports that no run was requested for."""
        unknown = [key for export in exports if (key := tags.run_key(export)) not in self._known]
        if unknown:
            self._known.update(self.lookup(unknown))
        return [export for export in exports if tags.run_key(export) not in self._known]


def plan_requests(exports: Iterable[Export], job_names: Mapping[str, str], max_runtime: float) -> list[dg.RunRequest]:
    """Give a run request for each export that has a job, in their order."""
    return [
        dg.RunRequest(
            run_key=tags.run_key(export),
            job_name=job_names[export.export_type],
            run_config=launch_config(export.id),
            tags=tags.export_tags(export, max_runtime),
        )
        for export in exports
        if export.export_type in job_names
    ]


def requested_keys(instance: dg.DagsterInstance, keys: Sequence[str]) -> list[str]:
    """Give those of the run keys that a run exists for, whatever became of it."""
    runs = instance.get_runs(dg.RunsFilter(tags={tags.RUN_KEY: list(keys)}))
    return [run.tags[tags.RUN_KEY] for run in runs]


def build_pending_sensor(
    jobs: Mapping[str, dg.JobDefinition], *, tick_seconds: float = TICK_SECONDS
) -> dg.SensorDefinition:
    """Build the sensor for `jobs`, by export type."""
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
        store = mongo.store(patience_seconds=_PATIENCE_SECONDS)
        interval = mongo.settings.polling_interval_millis / 1000
        requested = Requested(lambda keys: requested_keys(context.instance, keys))
        deadline = time.monotonic() + tick_seconds
        while True:
            try:
                new = requested.without(store.pending(AHEAD))
            except SourceUnavailable as error:
                return dg.SkipReason(f"{error.code}: {error.message}. {error.hint}")
            requests = plan_requests(new, job_names, mongo.settings.timeout_millis / 1000)
            if requests:
                _tell(new, requests)
                return dg.SensorResult(run_requests=requests)
            if time.monotonic() + interval >= deadline:
                return dg.SkipReason(_nothing(new))
            time.sleep(interval)

    return pending_exports


def _tell(exports: Sequence[Export], requests: Sequence[dg.RunRequest]) -> None:
    keys = {request.run_key for request in requests}
    for export in exports:
        if (key := tags.run_key(export)) in keys:
            tell("run requested", export, runKey=key)


def _nothing(unknown: Sequence[Export]) -> str:
    if not unknown:
        return "no PENDING export without a run"
    types = ", ".join(sorted({export.export_type for export in unknown}))
    return f"{len(unknown)} PENDING exports are of types that have no job here: {types}"
