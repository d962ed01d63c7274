"""What Dagster loads (workspace.yaml). It loads anywhere.

Of the environment it reads how runs are started, and whether webhooks are set.
"""

from __future__ import annotations

import dagster as dg

from vfexport_core.catalog import all_specs
from vfexport_core.services.run_resources import run_resources
from vfexport_dagster import sensors
from vfexport_dagster.assets import export_assets, export_checks
from vfexport_dagster.jobs import build_export_job
from vfexport_dagster.maintenance import deletion_job, retention_job, retention_schedule
from vfexport_dagster.session import RESOURCES
from vfexport_dagster.startup.forking import fork_runs_if_wanted


def build_definitions() -> dg.Definitions:
    """Build everything from the catalog: a type that is registered there has its job, its asset and its requests."""
    specs = all_specs()
    resources = run_resources()
    jobs = {spec.type: build_export_job(spec, resources.get(spec.type)) for spec in specs}
    return dg.Definitions(
        assets=export_assets(specs),
        asset_checks=[export_checks(spec) for spec in specs],
        executor=dg.in_process_executor,
        jobs=[*jobs.values(), deletion_job, retention_job],
        schedules=[retention_schedule],
        sensors=[
            sensors.build_pending_sensor(jobs),
            sensors.build_outcome_sensor(),
            sensors.build_reaper_sensor(),
            sensors.build_deletion_sensor(),
            sensors.build_notification_sensor(),
        ],
        resources=RESOURCES,
    )


defs = build_definitions()
fork_runs_if_wanted()
