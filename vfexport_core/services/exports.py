"""Requesting an export, reading it, cancelling it, running it again: the same for every way in (L1, L3, L8)."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bson import ObjectId

from vfexport_core.errors import ExportNotFound, InvalidDateKey, InvalidRequest, MissingDateKey, UnknownDateKey
from vfexport_core.queue.audit import AuditAction
from vfexport_core.queue.models import NewExport
from vfexport_core.sources.campaigns import find_wave_keys, is_wave

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.queue.audit import Actor
    from vfexport_core.queue.models import Export
    from vfexport_core.services.bootstrap import Backend

DATE_KEY_PATTERN = "[0-9]{1,32}"
_LISTED_WAVES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """An export that somebody wants, not checked yet."""

    spec: ExportSpec
    campaign_id: str
    date_key: str | None
    include_all_markets: bool
    by: Actor
    id: str | None = None
    """That of the export, from whoever may ask several times for the same one."""


def request(backend: Backend, wanted: ExportRequest) -> tuple[Export, bool]:
    """Queue an export, or return the active one of the same campaign, type and date key; True when it is new.

    Raises CampaignNotFound, MissingDateKey and UnknownDateKey (both name the campaign's waves), InvalidDateKey,
    InvalidRequest (additional markets of a type without), SourceUnavailable.
    """
    if wanted.date_key is not None:
        given_date_key(wanted.date_key)
    check_additional_markets(wanted.spec, include_all_markets=wanted.include_all_markets)
    name = backend.campaign(wanted.campaign_id).get("name")
    check_wave(backend, wanted.spec, wanted.campaign_id, wanted.date_key)
    export, created = backend.queue.request(
        NewExport(
            campaign_id=wanted.campaign_id,
            campaign_name="" if name is None else str(name),
            export_type=wanted.spec.type,
            date_key=wanted.date_key,
            include_all_markets=wanted.include_all_markets,
            requester_user_id=wanted.by.subject,
            correlation_id=wanted.by.correlation_id,
            source=wanted.by.source,
            id=wanted.id,
        )
    )
    # Behind it, when its id is known: should this fail, the request is to be repeated, and finds what there is.
    backend.audit.note(wanted.by, AuditAction.REQUEST, export.id, export)
    return export, created


def read(backend: Backend, export_id: str, campaign_id: str | None = None) -> Export:
    """Return an export; raises ExportNotFound, or CampaignNotFound where it is the campaign that is not there."""
    return _of_campaign(backend, backend.queue.get, export_id, campaign_id)


def cancel(backend: Backend, export_id: str, campaign_id: str | None = None, *, by: Actor) -> Export:
    """Cancel a PENDING export at once, have a TRIGGERED one ended by its run; return it as it is then.

    Raises ExportNotCancelable when it had ended before, ExportNotFound, CampaignNotFound.
    """
    with _noted(backend, by, AuditAction.CANCEL, export_id, campaign_id):
        return _of_campaign(backend, backend.queue.request_cancel, export_id, campaign_id)


def retry(backend: Backend, export_id: str, campaign_id: str | None = None, *, by: Actor) -> Export:
    """Queue the next attempt of a FAILED, EXPIRED or CANCELED export (L8), in its old place; return it as it is then.

    Raises ExportNotRetryable when it is active, FINISHED, or beside an equal one; ExportNotFound, CampaignNotFound.
    """
    with _noted(backend, by, AuditAction.RETRY, export_id, campaign_id):
        return _of_campaign(backend, backend.queue.retry, export_id, campaign_id)


def check_date_key(spec: ExportSpec, date_key: str | None) -> None:
    """Raise MissingDateKey when the type needs a date key and has none, InvalidDateKey when it is not digits."""
    if date_key is not None:
        given_date_key(date_key)
    elif spec.needs_date_key:
        raise MissingDateKey(f"{spec.type} needs a date key, the key of the wave to export", payload="dateKey")


def check_wave(backend: Backend, spec: ExportSpec, campaign_id: str, date_key: str | None) -> None:
    """Raise MissingDateKey or UnknownDateKey when the type exports a wave, and this names none of the campaign's."""
    if not spec.needs_date_key or (date_key is not None and is_wave(backend.database, campaign_id, date_key)):
        return
    keys = find_wave_keys(backend.database, campaign_id, quickly=True)
    more = len(keys) - _LISTED_WAVES
    listed = ", ".join(keys[:_LISTED_WAVES]) + (f" and {more} more" if more > 0 else "")
    waves = f"; its waves are {listed}" if keys else ""
    if date_key is None:
        raise MissingDateKey(
            f"{spec.type} needs dateKey, the key of one of the campaign's waves{waves}", payload="dateKey"
        )
    waves = waves or "; none of its codes has one"
    raise UnknownDateKey(f"no code of the campaign has the dateKey {date_key}{waves}", payload="dateKey")


def check_additional_markets(spec: ExportSpec, *, include_all_markets: bool) -> None:
    """Raise InvalidRequest when additional markets are asked for in a type that has no rows of them."""
    if include_all_markets and not spec.has_additional_markets:
        raise InvalidRequest(
            f"{spec.type} has no rows of additional markets: leave includeAllMarkets out", payload="includeAllMarkets"
        )


def given_date_key(value: object) -> str:
    """Return a date key that somebody sent, whatever its type was; raises InvalidDateKey when it is not digits."""
    if not isinstance(value, str) or not re.fullmatch(DATE_KEY_PATTERN, value):
        raise InvalidDateKey("dateKey must be a string of 1 to 32 digits", payload="dateKey")
    return value


def _noted(
    backend: Backend, by: Actor, action: AuditAction, export_id: str, campaign_id: str | None
) -> AbstractContextManager[None]:
    """Note an action on an export before the block, unless no export can have such an id: the block refuses it."""
    if not ObjectId.is_valid(export_id):
        return nullcontext()
    try:
        export = backend.queue.get(export_id, campaign_id)
    except ExportNotFound:
        export = None
    return backend.audit.noted(by, action, export_id.lower(), export)


def _of_campaign(
    backend: Backend, act: Callable[[str, str | None], Export], export_id: str, campaign_id: str | None
) -> Export:
    try:
        return act(export_id, campaign_id)
    except ExportNotFound:
        if campaign_id is not None:
            backend.campaign(campaign_id)
        raise
