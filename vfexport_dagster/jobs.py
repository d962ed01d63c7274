"""One job per export type, all from the same ops; the launchpad shows the fields that the type has, one filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from vfexport_dagster import tags
from vfexport_dagster.ops import claim, count, deliver, finish
from vfexport_dagster.run_logging import LOGGER, run_logger
from vfexport_dagster.session import JOB_OPTIONS

if TYPE_CHECKING:
    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.settings import RunResources


_CAMPAIGN = (
    "A campaign, by its id (24 hexadecimal digits). An export is queued for it; an equal one that is PENDING (of the "
    "same type and date key) is taken instead."
)
_EXPORT = "Instead of a campaign: a PENDING export, by its id (24 hexadecimal digits)."
_WAVE = "With campaign_id: the wave to export, by its key. Without one, the run fails and names the campaign's waves."
_MARKETS = "With campaign_id: one more row for each additional market of a fan."


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


def launch_fields(spec: ExportSpec) -> dict[str, dg.Field]:
    """Return the fields of a type's job; what a person gives is checked by the run, which can say what to do.

    As plain fields: those of a Config would let anybody read the environment (``campaign_id: {env: NAME}``).
    """
    fields = {
        "campaign_id": dg.Field(str, default_value="", description=_CAMPAIGN),
        "export_id": dg.Field(str, is_required=False, description=_EXPORT),
    }
    if spec.needs_date_key:
        # Digits without quotes are a number.
        fields["date_key"] = dg.Field(dg.Any, default_value="", description=_WAVE)
    if spec.has_additional_markets:
        fields["include_all_markets"] = dg.Field(bool, default_value=False, description=_MARKETS)
    return fields


def launch_mapping(spec: ExportSpec) -> dg.ConfigMapping:
    """Map the job's configuration to that of its first op, adding the export type."""

    def launch(config: dict[str, Any]) -> dict[str, Any]:
        claim = {"export_type": str(spec.type), "launch": config}
        return {"ops": {"claim": {"config": claim}}, "loggers": {LOGGER: {}}}

    return dg.ConfigMapping(launch, launch_fields(spec))
