"""The run configuration of an export job, as the launchpad shows it."""

# No postponed annotations here: Dagster reads them when a mapping is declared.

from typing import Any

import dagster as dg
from pydantic import Field

from vfexport_core.catalog.spec import ExportSpec
from vfexport_core.errors import InvalidRequest
from vfexport_dagster.run_logging import LOGGER


class LaunchConfig(dg.Config):
    """What to export: either an export that is queued already, or a campaign. The type is that of the job."""

    export_id: str | None = Field(
        default=None,
        description="A PENDING export, by its id (24 hexadecimal digits). Leave the other fields out.",
    )
    campaign_id: str | None = Field(
        default=None,
        description=(
            "A campaign, by its id (24 hexadecimal digits). An export is queued for it, or, if one of the same type "
            "and date key is PENDING, that one is taken."
        ),
    )
    date_key: str | None = Field(
        default=None,
        description="With campaign_id: the wave to export, a string of digits. Only some types have (and need) one.",
    )
    include_all_markets: bool = Field(
        default=False,
        description="With campaign_id: one more row for each additional market of a fan, in the types that know it.",
    )


class ClaimConfig(LaunchConfig):
    """The launch, and the type that the job stands for."""

    export_type: str


def check_launch(config: LaunchConfig) -> None:
    """Refuse at launch, before there is a run, what could only fail in it; raises InvalidRequest."""
    if (config.export_id is None) == (config.campaign_id is None):
        raise InvalidRequest("give either export_id or campaign_id", payload="export_id")
    if config.export_id is not None and (config.date_key is not None or config.include_all_markets):
        raise InvalidRequest(
            "date_key and include_all_markets go with campaign_id; a queued export has its own", payload="export_id"
        )


def launch_mapping(spec: ExportSpec) -> dg.ConfigMapping:
    """Map the job's configuration to that of its first op, adding the export type."""

    @dg.config_mapping
    def launch(config: LaunchConfig) -> dict[str, Any]:
        check_launch(config)
        given = config.model_dump(exclude_none=True)
        claim = {"config": {**given, "export_type": str(spec.type)}}
        return {"ops": {"claim": claim}, "loggers": {LOGGER: {}}}

    return launch


def launch_config(export_id: str) -> dict[str, Any]:
    """Return the run configuration that exports a queued export."""
    return {"export_id": export_id}
