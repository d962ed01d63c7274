"""What Dagster loads (workspace.yaml). It loads anywhere; of the environment it reads how runs are started."""

from __future__ import annotations

import dagster as dg

from vfexport_core.catalog import all_specs
from vfexport_core.services.run_resources import run_resources
from vfexport_dagster.assets import export_assets, export_checks
from vfexport_dagster.deletion import build_deletion_job
from vfexport_dagster.jobs import build_export_job
from vfexport_dagster.retention import build_retention_job, build_retention_schedule
from vfexport_dagster.sensors.deletions import build_deletion_sensor
from vfexport_dagster.sensors.outcome import build_outcome_sensor
from vfexport_dagster.sensors.pending import build_pending_sensor
from vfexport_dagster.sensors.reaper import build_reaper_sensor
from vfexport_dagster.session import RESOURCES
from vfexport_dagster.startup.forking import fork_runs_if_wanted


def build_definitions() -> dg.Definitions:
    """Build everything from the catalog: a type that is registered there has its job, its asset and its requests."""
    specs = all_specs()
    resources = run_resources()
    jobs = {spec.type: build_export_job(spec, resources.get(spec.type)) for spec in specs}
    deletion, retention = build_deletion_job(), build_retention_job()
    return dg.Definitions(
        assets=export_assets(specs),
        asset_checks=[export_checks(spec) for spec in specs],
        executor=dg.in_process_executor,
        jobs=[*jobs.values(), deletion, retention],
        schedules=[build_retention_schedule(retention)],
        sensors=[
            build_pending_sensor(jobs),
            build_outcome_sensor(),
            build_reaper_sensor(),
            build_deletion_sensor(deletion),
        ],
        resources=RESOURCES,
    )


defs = build_definitions()
fork_runs_if_wanted()
