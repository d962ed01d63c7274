"""What every way into the queue checks before it asks for an export: the campaign, the type's date key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vfexport_core.errors import InvalidDateKey, MissingDateKey
from vfexport_core.queue.models import NewExport
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.queue.models import Document, Source

DATE_KEY_PATTERN = "[0-9]{1,32}"


def check_date_key(spec: ExportSpec, date_key: str | None) -> None:
    """Raise MissingDateKey when the type needs a date key and has none, InvalidDateKey when it is not digits."""
    if date_key is not None:
        given_date_key(date_key)
    elif spec.needs_date_key:
        raise MissingDateKey(f"{spec.type} needs dateKey, the key of the wave to export", payload="dateKey")


def given_date_key(value: object) -> str:
    """Return a date key that somebody sent, whatever its type was; raises InvalidDateKey when it is not digits."""
    if not isinstance(value, str) or not re.fullmatch(DATE_KEY_PATTERN, value):
        raise InvalidDateKey("dateKey must be a string of 1 to 32 digits", payload="dateKey")
    return value


def new_export(
    database: Database[Document],
    spec: ExportSpec,
    campaign_id: str,
    *,
    date_key: str | None,
    include_all_markets: bool,
    requester_user_id: str,
    correlation_id: str,
    source: Source,
) -> NewExport:
    """Make the request for an export, checked; raises CampaignNotFound, MissingDateKey, InvalidDateKey."""
    check_date_key(spec, date_key)
    name = find_campaign(database, campaign_id).get("name")
    return NewExport(
        campaign_id=campaign_id,
        campaign_name="" if name is None else str(name),
        export_type=spec.type,
        date_key=date_key,
        include_all_markets=include_all_markets,
        requester_user_id=requester_user_id,
        correlation_id=correlation_id,
        source=source,
    )
