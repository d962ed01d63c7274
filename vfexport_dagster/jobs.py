"""One job per export type, all from the same ops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from vfexport_dagster import tags
from vfexport_dagster.config import launch_mapping
from vfexport_dagster.ops import claim, count, deliver, finish
from vfexport_dagster.run_logging import LOGGER, run_logger
from vfexport_dagster.session import JOB_OPTIONS

if TYPE_CHECKING:
    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.settings import RunResources


@dg.graph
def export() -> None:
    """Claim the export, count, deliver the file, record it."""
    finish(deliver(count(claim())))


def build_export_job(spec: ExportSpec, resources: RunResources | None = None) -> dg.JobDefinition:
    """Build the job of an export type.

    `resources` are what the run's pod gets, where that is not what most types get.
    """
    return export.to_job(
        name=spec.job_name,
        description=f"{spec.summary}\n\nLaunch it with a `campaign_id`, or with the `export_id` of a PENDING export.",
        config=launch_mapping(spec),
        logger_defs={LOGGER: run_logger},
        tags={tags.PRIORITY: tags.LAST, **tags.pod_tags(resources)},
        metadata={"bucket": spec.bucket.value, "acl": spec.acl.value, "format": spec.extension},
        **JOB_OPTIONS,
    )
