"""The run configuration of an export job, as the launchpad shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, model_validator

if TYPE_CHECKING:
    from typing import Self

    from vfexport_core.catalog.spec import ExportSpec


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

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        """Refuse at launch what could only fail later."""
        if (self.export_id is None) == (self.campaign_id is None):
            raise ValueError("give either export_id or campaign_id")
        if self.export_id is not None and (self.date_key is not None or self.include_all_markets):
            raise ValueError("date_key and include_all_markets belong to campaign_id; a queued export has its own")
        return self


class ClaimConfig(LaunchConfig):
    """The launch, and the type that the job stands for."""

    export_type: str


def launch_mapping(spec: ExportSpec) -> dg.ConfigMapping:
    """Map the job's configuration to that of its first op, adding the export type."""

    @dg.config_mapping
    def launch(config: LaunchConfig) -> dict[str, Any]:
        given = config.model_dump(exclude_none=True)
        return {"ops": {"claim": {"config": {**given, "export_type": spec.type}}}}

    return launch


def launch_config(export_id: str) -> dict[str, Any]:
    """Give the run configuration that exports a queued export."""
    return {"export_id": export_id}
