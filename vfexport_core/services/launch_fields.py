"""What a person says who launches a run of an export type by hand: the fields, and what each means.

`vfexport_core.services.launch` reads them. Light to import: an orchestrator's definitions need this alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vfexport_core.catalog.spec import ExportSpec


@dataclass(frozen=True, slots=True)
class LaunchField:
    """One field of a form. `kind` is the type of its value, None for any; without a `default` it is not filled in."""

    kind: type | None
    text: str
    default: Any = None


_CAMPAIGN = LaunchField(
    str,
    "A campaign, by its id (24 hexadecimal digits). An export is queued for it; an equal one that is PENDING (of the "
    "same type and date key) is taken instead.",
    default="",
)
_EXPORT = LaunchField(str, "Instead of a campaign: a PENDING export, by its id (24 hexadecimal digits).")
# Digits without quotes are a number.
_WAVE = LaunchField(
    None,
    "With campaign_id: the wave to export, by its key. Without one, the run fails and names the campaign's waves.",
    default="",
)
_MARKETS = LaunchField(bool, "With campaign_id: one more row for each additional market of a fan.", default=False)


def launch_fields(spec: ExportSpec) -> dict[str, LaunchField]:
    """Return the fields of a type by name. What a person gives is checked by the run, which can say what to do."""
    fields = {"campaign_id": _CAMPAIGN, "export_id": _EXPORT}
    if spec.needs_date_key:
        fields["date_key"] = _WAVE
    if spec.has_additional_markets:
        fields["include_all_markets"] = _MARKETS
    return fields
