"""Runs that people launch by hand: what each was launched for, and the export that is queued for it (L9)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from vfexport_core.catalog import find_spec
from vfexport_core.errors import InvalidRequest
from vfexport_core.queue.audit import Actor
from vfexport_core.services import exports
from vfexport_core.services.claim import check_not_running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vfexport_core.queue.models import Export
    from vfexport_core.services.bootstrap import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a run was launched for: an export that is queued already, or a campaign of which one is to be queued."""

    export_type: str
    export_id: str | None = None
    campaign_id: str | None = None
    date_key: str | None = None
    include_all_markets: bool = False

    @classmethod
    def from_config(cls, export_type: str, config: Mapping[str, Any]) -> Self:
        """Read a run's configuration; what is left blank was not given, and a date key may be a number."""
        date_key = config.get("date_key")
        return cls(
            export_type=export_type,
            export_id=config.get("export_id") or None,
            campaign_id=config.get("campaign_id") or None,
            date_key=None if date_key is None or date_key == "" else str(date_key),
            include_all_markets=bool(config.get("include_all_markets")),
        )

    def check(self) -> None:
        """Raise InvalidRequest for a launch that says nothing, or too much."""
        if (self.export_id is None) == (self.campaign_id is None):
            raise InvalidRequest(
                "give a campaign_id, or the export_id of an export that is PENDING", payload="campaign_id"
            )
        if self.export_id and (self.date_key is not None or self.include_all_markets):
            raise InvalidRequest(
                "date_key and include_all_markets go with campaign_id; a queued export has its own", payload="export_id"
            )


def request_launched(backend: Backend, launch: Launch, run_id: str) -> tuple[Export, bool]:
    """Queue the export of a campaign that a run was launched for, or return the equal one that waits; True when new.

    A run has one export, however often and by whomever this is called: its id follows from the run's. Raises
    ExportNotClaimable when another run has the equal one, and what `exports.request` raises.
    """
    request = exports.ExportRequest(
        spec=find_spec(launch.export_type),
        campaign_id=launch.campaign_id or "",
        date_key=launch.date_key,
        include_all_markets=launch.include_all_markets,
        by=Actor("dagster", "dagster", run_id),
        id=hashlib.sha256(run_id.encode()).hexdigest()[:24],
    )
    export, created = exports.request(backend, request)
    check_not_running(export, run_id)
    return export, created
