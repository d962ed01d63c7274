"""One job per export type, all from the same ops; the launchpad shows the fields that the type has, one filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from vfexport_core.services.launch_fields import launch_fields
from vfexport_dagster import tags
from vfexport_dagster.ops import claim, count, deliver, finish
from vfexport_dagster.run_logging import LOGGER, run_logger
from vfexport_dagster.session import JOB_OPTIONS

if TYPE_CHECKING:
    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.services.launch_fields import LaunchField
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


def launch_mapping(spec: ExportSpec) -> dg.ConfigMapping:
    """Map the job's configuration to that of its first op, adding the export type.

    Plain fields: those of a Config would let anybody read the environment (``campaign_id: {env: NAME}``).
    """

    def launch(config: dict[str, Any]) -> dict[str, Any]:
        claim = {"export_type": str(spec.type), "launch": config}
        return {"ops": {"claim": {"config": claim}}, "loggers": {LOGGER: {}}}

    return dg.ConfigMapping(launch, {name: _field(one) for name, one in launch_fields(spec).items()})


def _field(field: LaunchField) -> dg.Field:
    filled_in = {} if field.default is None else {"default_value": field.default}
    return dg.Field(field.kind or dg.Any, is_required=False, description=field.text, **filled_in)
