"""The run configuration of an export job, as the launchpad shows it: the fields that the type has, one filled in."""

# No postponed annotations here: Dagster reads them when a mapping is declared.

from typing import TYPE_CHECKING, Any

import dagster as dg

from vfexport_core.catalog.spec import ExportSpec
from vfexport_dagster.run_logging import LOGGER

if TYPE_CHECKING:
    from vfexport_core.services.launch import Launch

_CAMPAIGN = (
    "A campaign, by its id (24 hexadecimal digits). An export is queued for it; an equal one that is PENDING (of the "
    "same type and date key) is taken instead."
)
_EXPORT = "Instead of a campaign: a PENDING export, by its id (24 hexadecimal digits)."
_WAVE = "With campaign_id: the wave to export, by its key. Without one, the run fails and names the campaign's waves."
_MARKETS = "With campaign_id: one more row for each additional market of a fan."


class ClaimConfig(dg.Config):
    """The type that the job stands for, and what it was launched with."""

    export_type: str
    launch: dict[str, Any]

    def to_launch(self) -> "Launch":
        from vfexport_core.services.launch import Launch  # noqa: PLC0415 the definitions load without a driver

        return Launch.from_config(self.export_type, self.launch)


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
