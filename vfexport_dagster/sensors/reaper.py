"""The reaper: ends exports that are late or lost, cleans up after them, settles where Dagster and the queue differ.

What is done is core's (``services.reap``, ``services.reconcile``); here it is when, and what an operator is told.
"""

# No postponed annotations here: Dagster reads them when a sensor is declared.

import json

import dagster as dg

from vfexport_core.errors import SourceUnavailable
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services.reconcile import Reconciler, Sightings
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.run_logging import log_export
from vfexport_dagster.runs import DagsterRuns

_RETRY_SECONDS = 5.0


def build_reaper_sensor() -> dg.SensorDefinition:
    """Build the sensor."""
    drift = Sightings()

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
        from vfexport_core.services.hanging_buckets import probe_due  # noqa: PLC0415 the definitions load without a driver
        from vfexport_core.services.reap import clean_up_lost  # noqa: PLC0415 the same

        backend = mongo.backend(retry_seconds=_RETRY_SECONDS)
        store, reconciler = backend.queue, Reconciler(DagsterRuns(context.instance), backend, drift)
        try:
            ended = store.reaper.reap(mongo.settings.timeout_millis)
            told: list[str] = []
            if ended is not None:
                ids = (ended.correlation_id, ended.id)
                log_export("export ended by the reaper", *ids, exportStatus=ended.status.value)
                follows = f", attempt {ended.attempt} follows" if ended.status is ExportStatus.PENDING else ""
                told.append(f"{ended.id} {ended.attempts[-1].status}{follows}")
            told += reconciler.look()
            # Last, since a bucket may hang: the queue moves on before.
            done = clean_up_lost(store, lambda: buckets.clients)
            told += [f"not cleaned up yet: {problem}" for problem in done.problems]
            told += probe_due(store.breakers, lambda: buckets.clients)
        except SourceUnavailable as error:
            return dg.SkipReason(error.description)
        context.update_cursor(json.dumps(drift.names()))  # for people alone
        return dg.SkipReason("; ".join(told) or "no export is late or lost")

    return export_watchdog
