"""The reaper: ends exports that are late or lost, cleans up after them, reconciles Dagster with the queue.

What is done is core's (``services.reap``, ``services.reconcile_runs``); here it is when, and what an operator is told.
"""

# No postponed annotations here: Dagster reads them when a sensor is declared.

import json

import dagster as dg

from vfexport_core.services.reconcile_runs import Reconciler, Sightings
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.run_logging import log_export
from vfexport_dagster.runs import DagsterRuns
from vfexport_dagster.sensors import sensor

_RETRY_SECONDS = 5.0


def build_reaper_sensor() -> dg.SensorDefinition:
    """Build the sensor."""
    drift = Sightings()

    @sensor(
        "export_watchdog",
        2,
        "Ends exports that take too long or lost their worker, cleans up after them, and ends their runs.",
    )
    def export_watchdog(
        context: dg.SensorEvaluationContext, mongo: MongoResource, buckets: BucketsResource
    ) -> dg.SkipReason:
        """Look once, at the queue and at Dagster's runs."""
        from vfexport_core.services.reap import reconcile  # noqa: PLC0415 the definitions load without a driver

        backend = mongo.backend(retry_seconds=_RETRY_SECONDS)
        reconciler = Reconciler(DagsterRuns(context.instance), backend, drift)
        told = [*reconcile(reconciler, lambda: buckets.clients, log_export)]
        context.update_cursor(json.dumps(drift.names()))  # for people alone
        return dg.SkipReason("; ".join(told) or "no export is late or lost")

    return export_watchdog
