"""Exports as callers see them (04): camelCase, ISO 8601 dates in UTC with milliseconds, nothing that is not theirs."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict

from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vfexport_core.queue.models import Export, ExportDates

StatusName: TypeAlias = Literal["PENDING", "TRIGGERED", "FINISHED", "FAILED", "EXPIRED", "CANCELED"]

_WHOLE = 100.0


class ExportDatesWire(TypedDict):
    """When the export came into each state of its current attempt; ``created`` is when it was asked for."""

    created: str
    triggered: NotRequired[str]
    finished: NotRequired[str]
    failed: NotRequired[str]
    expired: NotRequired[str]
    canceled: NotRequired[str]


class ProgressWire(TypedDict):
    """How far the run is: documents read, rows and bytes written, and the share of the whole if that is known."""

    read: int
    rows: int
    bytes: int
    percent: NotRequired[float]


class QueueWire(TypedDict):
    """Where a PENDING export is in the queue (1: it comes next), and in how many seconds it may start: a guess."""

    position: int
    startsInSeconds: int


class ExportErrorWire(TypedDict):
    """Why the export FAILED."""

    code: str
    message: str
    payload: str | None


class ExportWire(TypedDict):
    """One export. `key` or `keys`, `bytes`, `sha256` and `path` are there when it is FINISHED.

    `queue` is there while it is PENDING, except in lists.
    """

    id: str
    campaignId: str
    campaignName: str
    exportType: str
    status: StatusName
    dateKey: NotRequired[str]
    includeAllMarkets: NotRequired[bool]
    requesterUserId: str
    date: ExportDatesWire
    attempt: int
    queue: NotRequired[QueueWire]
    count: NotRequired[int]
    progress: NotRequired[ProgressWire]
    meta: NotRequired[dict[str, Any]]
    error: NotRequired[ExportErrorWire]
    key: NotRequired[str]
    keys: NotRequired[list[str]]
    bytes: NotRequired[int]
    sha256: NotRequired[str | list[str]]
    path: NotRequired[str]


def export_wire(export: Export) -> ExportWire:
    """Give the export's wire form, without `path`."""
    wire: ExportWire = {
        "id": export.id,
        "campaignId": export.campaign_id,
        "campaignName": export.campaign_name,
        "exportType": export.export_type,
        "status": export.status.value,
        "includeAllMarkets": export.include_all_markets,
        "requesterUserId": export.requester_user_id,
        "date": _dates(export.date),
        "attempt": export.attempt,
    }
    if export.date_key is not None:
        wire["dateKey"] = export.date_key
    if export.count is not None:
        wire["count"] = export.count
    if export.progress is not None:
        wire["progress"] = _progress(export)
    if export.meta is not None:
        wire["meta"] = plain(export.meta)
    if export.error is not None:
        wire["error"] = _error(export.error)
    if export.status is ExportStatus.FINISHED:
        _add_files(wire, export)
    return wire


def _add_files(wire: ExportWire, export: Export) -> None:
    digests = [export.sha256[key] for key in export.keys]
    if len(export.keys) == 1:
        wire["key"] = export.keys[0]
        wire["sha256"] = digests[0]
    else:
        wire["keys"] = list(export.keys)
        wire["sha256"] = digests
    if export.bytes is not None:
        wire["bytes"] = export.bytes


def _dates(dates: ExportDates) -> ExportDatesWire:
    wire: ExportDatesWire = {"created": iso(dates.created)}
    for name in ("triggered", "finished", "failed", "expired", "canceled"):
        moment: datetime | None = getattr(dates, name)
        if moment is not None:
            wire[name] = iso(moment)
    return wire


def _progress(export: Export) -> ProgressWire:
    progress = export.progress
    assert progress is not None
    wire: ProgressWire = {"read": progress.read, "rows": progress.rows, "bytes": progress.bytes}
    if export.status is ExportStatus.FINISHED:
        wire["percent"] = _WHOLE
    elif export.count:  # preliminary: how many documents there are to read
        wire["percent"] = min(_WHOLE, round(_WHOLE * progress.read / export.count, 1))
    return wire


def _error(error: Mapping[str, Any]) -> ExportErrorWire:
    payload = error.get("payload")
    return {
        "code": str(error.get("code")),
        "message": str(error.get("message")),
        "payload": None if payload is None else str(payload),
    }


def iso(moment: datetime) -> str:
    """Write a date as ``2026-01-31T09:30:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """Give a stored value in JSON's own types."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return iso(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def entity_tag(wire: ExportWire, *, now: float, url_seconds: int, position: int | None = None) -> str:
    """Give the ETag of an export, made from everything but its pre-signed URL and the guess when it starts.

    It is weak, since that URL differs from answer to answer. A FINISHED export's tag changes twice in the life of a
    URL, so that a 304 never leaves the caller with one that has less than half of its life before it.
    """
    period = max(1.0, url_seconds / 2)
    window = int(now // period) if wire["status"] == ExportStatus.FINISHED else 0
    content = json.dumps([wire, position, window], sort_keys=True).encode()
    return f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'


def tag_matches(if_none_match: str | None, tag: str) -> bool:
    """Apply If-None-Match (RFC 9110): ``*`` or a list of tags, compared weakly."""
    if if_none_match is None:
        return False
    candidates = [candidate.strip() for candidate in if_none_match.split(",")]
    return "*" in candidates or tag.removeprefix("W/") in [item.removeprefix("W/") for item in candidates]
