"""The watchdog: ends exports that are late or lost, cleans up after them, heals what Dagster and MongoDB disagree on.

MongoDB's side is decided by MongoDB's clock (``vfexport_core.watching``); Dagster's by how long a disagreement has been
seen here. Several watchdogs, or one that is interrupted anywhere, do no harm.
"""

# No postponed annotations here: Dagster reads them when a sensor is declared.

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from vfexport_core.errors import ExportNotFound, RunFailed, SourceUnavailable
from vfexport_core.queue.models import Export, ExportStatus
from vfexport_dagster import healing, tags
from vfexport_dagster.healing import Step
from vfexport_dagster.lines import tell
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.sensors.pending import AHEAD

if TYPE_CHECKING:
    from vfexport_core.queue.store import ExportStore

_AT_ONCE = 200
_PATIENCE_SECONDS = 5.0
_MOST_RUNS = 3
"""After so many runs that ended before they claimed an export, there is something wrong with its runs."""


@dataclass
class Healer:
    """One look at Dagster's side; `since` is when each disagreement (by run or export) was first seen, in seconds."""

    instance: dg.DagsterInstance
    store: "ExportStore"
    since: dict[str, float]
    clock: Callable[[], float] = time.time
    _seen: dict[str, float] = field(default_factory=dict[str, float])

    def look(self) -> Iterator[str]:
        """Heal, and yield what was done; afterwards `since` has what has yet to be done."""
        yield from self._runs_without_need()
        yield from self._exports_without_run()
        self.since = self._seen

    def _lasted(self, name: str) -> float:
        """Give how long something has been seen, from its first sight on; a clock set back starts it anew."""
        now = self.clock()
        first = self._seen[name] = min(now, self.since.get(name, now))
        return now - first

    def _runs_without_need(self) -> Iterator[str]:
        runs = self.instance.get_runs(dg.RunsFilter(statuses=list(healing.LIVE)), limit=_AT_ONCE, ascending=True)
        is_busy = self.store.running() is not None
        for run in runs:
            if tags.EXPORT_TYPE not in run.tags:
                continue
            export = self._export_of(run)
            found = healing.disagreement(run, export, is_busy=is_busy)
            if found is None:
                continue
            what = healing.step(run, found, self._lasted(run.run_id))
            if what is Step.LEAVE:
                continue
            done = self._act(run, what, found.why)
            yield f"run {run.run_id} {done}: {found.why}"
            if what is not Step.WITHDRAW and export is not None and _is_requested(run, export):
                self.store.request_run(export)

    def _export_of(self, run: dg.DagsterRun) -> Export | None:
        try:
            return self.store.get(run.tags.get(tags.EXPORT_ID, ""))
        except ExportNotFound:
            return None

    def _act(self, run: dg.DagsterRun, what: Step, why: str) -> str:
        if what is Step.WITHDRAW:
            self.instance.report_run_canceled(run, message=f"Not needed any more: {why}.")
            return "withdrawn"
        self.instance.report_run_failed(run, message=f"Ended by the watchdog: {why}.")
        return "reported as failed"

    def _exports_without_run(self) -> Iterator[str]:
        waiting = self.store.pending(AHEAD)
        keys = [tags.run_key(export) for export in waiting]
        if not keys:
            return
        runs: dict[str, list[dg.DagsterRun]] = defaultdict(list)
        for run in self.instance.get_runs(dg.RunsFilter(tags={tags.RUN_KEY: keys})):
            runs[run.tags[tags.RUN_KEY]].append(run)
        for export in healing.lost_requests(waiting, runs):
            key = tags.run_key(export)
            if self._lasted(key) < healing.REQUESTING_SECONDS:
                continue
            if export.requests + 1 >= _MOST_RUNS:
                run_id = runs[key][0].run_id
                error = RunFailed("its runs end before they claim it", payload=run_id).as_dict()
                self.store.close_run(export.id, run_id, ExportStatus.FAILED, error, export.attempt)
                yield f"{export.id} FAILED: its runs end before they claim it"
            elif self.store.request_run(export):
                yield f"{export.id} gets another run: that of {key} has ended without claiming it"


def _is_requested(run: dg.DagsterRun, export: Export) -> bool:
    """Whether the export waits for just this run."""
    return export.status is ExportStatus.PENDING and run.tags.get(tags.RUN_KEY) == tags.run_key(export)


def build_watchdog_sensor() -> dg.SensorDefinition:
    """Build the sensor."""

    @dg.sensor(
        name="export_watchdog",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=2,
        description="Ends exports that take too long or lost their worker, cleans up after them, and ends their runs.",
    )
    def export_watchdog(
        context: dg.SensorEvaluationContext, mongo: MongoResource, buckets: BucketsResource
    ) -> dg.SkipReason:
        """Look once, at the queue and at Dagster's runs."""
        from vfexport_core.watching import watch  # noqa: PLC0415 the definitions load without a driver

        store = mongo.store(patience_seconds=_PATIENCE_SECONDS)
        healer = Healer(context.instance, store, json.loads(context.cursor) if context.cursor else {})
        try:
            seen = watch(store, lambda: buckets.clients, mongo.settings.timeout_millis)
            if seen.released is not None:
                tell("export ended by the watchdog", seen.released, exportStatus=seen.released.status.value)
            ended = [f"{seen.released.id} {seen.released.status}"] if seen.released is not None else []
            told = [*ended, *healer.look(), *(f"not cleaned up yet: {problem}" for problem in seen.problems)]
        except SourceUnavailable as error:
            return dg.SkipReason(f"{error.code}: {error.message}. {error.hint}")
        context.update_cursor(json.dumps(healer.since))
        return dg.SkipReason("; ".join(told) or "no export is late or lost")

    return export_watchdog
