"""Exports as callers see them: camelCase, ISO 8601 dates in UTC with milliseconds, nothing that is not theirs."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from vfexport_core.api.schemas import AttemptOut, ExportDatesOut, ExportErrorOut, ExportOut, ProgressOut, QueueOut
from vfexport_core.catalog import Bucket
from vfexport_core.errors import INTERNAL_CODE, SourceUnavailable, error_class
from vfexport_core.queue.models import FINAL, ExportStatus, FileProblem, iso
from vfexport_core.services.delivered import download_name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from vfexport_core.api.container import AppContainer
    from vfexport_core.queue.audit import Actor
    from vfexport_core.queue.models import Attempt, Export
    from vfexport_core.queue.statistics.estimates import Estimate

_log = logging.getLogger(__name__)

_WHOLE = 100.0
_MILLIS = 1000
# Whoever waits for long is told of a queue that moves faster than it seemed.
_LONGEST_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Outlook:
    """What may become of an export: its `place` in the queue while PENDING, when it ends while TRIGGERED."""

    place: Estimate | None = None
    ends_in_seconds: int | None = None

    @property
    def wait_seconds(self) -> int:
        """In how many seconds it is likely to be in another state; 0 when nothing is known."""
        return self.place.starts_in_seconds if self.place is not None else self.ends_in_seconds or 0


_NO_OUTLOOK = Outlook()


def export_out(
    export: Export,
    *,
    outlook: Outlook = _NO_OUTLOOK,
    path: str | None = None,
    path_expires: datetime | None = None,
    with_attempts: bool = False,
) -> ExportOut:
    """Return the export as callers see it, with its `outlook` and the `path` to download its file from."""
    finished = export.status is ExportStatus.FINISHED
    digests = [export.sha256[key] for key in export.keys] if finished else []
    single = finished and len(export.keys) == 1
    several = finished and not single
    return ExportOut(
        id=export.id,
        campaign_id=export.campaign_id,
        campaign_name=export.campaign_name,
        export_type=export.export_type,
        status=export.status,
        date_key=export.date_key,
        include_all_markets=export.include_all_markets,
        requester_user_id=export.requester_user_id,
        date=ExportDatesOut.model_validate(export.date),
        attempt=export.attempt,
        attempts=[_attempt(one) for one in export.attempts] if with_attempts and export.attempt > 1 else None,
        queue=None if outlook.place is None else QueueOut.model_validate(outlook.place),
        ends_in_seconds=outlook.ends_in_seconds,
        count=export.count,
        progress=_progress(export),
        meta=None if export.meta is None else plain(export.meta),
        error=None if export.error is None else _error(export.error),
        key=export.keys[0] if single else None,
        keys=list(export.keys) if several else None,
        sha256=digests[0] if single else digests if several else None,
        bytes=export.bytes if finished else None,
        file_problem=export.file_problem,
        path=path,
        path_expires=path_expires,
    )


def _attempt(attempt: Attempt) -> AttemptOut:
    return AttemptOut(
        attempt=attempt.attempt,
        status=attempt.status,
        triggered=attempt.triggered,
        ended=attempt.ended,
        error=None if attempt.error is None else _error(attempt.error),
    )


def _error(stored: Mapping[str, Any]) -> ExportErrorOut:
    hint = error_class(stored.get("code", INTERNAL_CODE)).hint
    return ExportErrorOut.model_validate({"payload": None} | {**stored, "hint": hint})


def export_json(export: Export) -> dict[str, Any]:
    """Return the export as callers see it, in JSON's own types, without what changes from answer to answer."""
    return export_out(export).model_dump(mode="json")


def hand_out(export: Export, container: AppContainer, actor: Actor, outlook: Outlook = _NO_OUTLOOK) -> ExportOut:
    """Return the export with all that is known of it, for `actor`, who is noted where it can be downloaded."""
    _note_downloads([export], container, actor)
    return present(export, container, outlook)


def hand_out_page(page: Sequence[Export], container: AppContainer, actor: Actor) -> list[ExportOut]:
    """Return a page of exports, for `actor`, who is noted where they can be downloaded."""
    _note_downloads(page, container, actor)
    return [present(export, container, with_attempts=False) for export in page]


def _note_downloads(exports: Sequence[Export], container: AppContainer, actor: Actor) -> None:
    signed = [export for export in exports if _is_downloadable(export, container)]
    container.backend.audit.note_downloads(actor, signed, container.settings.signed_url_seconds)


def present(
    export: Export, container: AppContainer, outlook: Outlook = _NO_OUTLOOK, *, with_attempts: bool = True
) -> ExportOut:
    """Return the export with its pre-signed URL and its `outlook`, where it has either."""
    # Before it is signed, so that it is never said to be good for longer than it is.
    now = datetime.now(UTC)
    path = _download_path(export, container)
    expires = None if path is None else now + timedelta(seconds=container.settings.signed_url_seconds)
    return export_out(export, outlook=outlook, path=path, path_expires=expires, with_attempts=with_attempts)


def _is_downloadable(export: Export, container: AppContainer) -> bool:
    # The type says which bucket it is; the export itself keeps the bucket's name in S3.
    bucket = container.catalog.find(export.export_type).bucket
    is_there = export.status is ExportStatus.FINISHED and export.file_problem is not FileProblem.MISSING
    return is_there and len(export.keys) == 1 and bucket is not Bucket.SFMC


def _download_path(export: Export, container: AppContainer) -> str | None:
    if not _is_downloadable(export, container):
        return None
    bucket, key = container.catalog.find(export.export_type).bucket, export.keys[0]
    name = download_name_of(export, key.rpartition(".")[2])
    return container.buckets.sign_download(bucket, key, container.settings.signed_url_seconds, name)


def _progress(export: Export) -> ProgressOut | None:
    progress, percent = export.progress, None
    if progress is None:
        return None
    if export.status is ExportStatus.FINISHED:
        percent = _WHOLE
    elif export.count:  # preliminary: how many documents there are to read
        percent = min(_WHOLE, round(_WHOLE * progress.read / export.count, 1))
    return ProgressOut(read=progress.read, rows=progress.rows, bytes=progress.bytes, percent=percent)


def plain(value: Any) -> Any:
    """Return a stored value in JSON's own types."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return iso(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def outlook_of(export: Export, container: AppContainer) -> Outlook:
    """Estimate when an export starts or ends; nothing is known while MongoDB has no time for such a question."""
    return outlooks_of([export], container)[0]


def outlooks_of(exports: Sequence[Export], container: AppContainer) -> list[Outlook]:
    """Estimate the same of several exports, by one look at the queue."""
    estimator = container.estimator
    try:
        places = estimator.estimates(exports)
        return [
            Outlook(place, estimator.ends_in_seconds(export)) for export, place in zip(exports, places, strict=True)
        ]
    except SourceUnavailable as error:
        # What was asked for is done: that must not be answered with an error for want of a guess.
        _log.warning("no estimate for %d exports: %s", len(exports), error.message)
        return [_NO_OUTLOOK for _ in exports]


def polling_headers(export: Export, outlook: Outlook, container: AppContainer) -> dict[str, str]:
    """Return when to ask again, while the export can change by itself: when it is likely to have started or ended.

    Whoever wants to see how far it is meanwhile may ask sooner.
    """
    if export.status in FINAL:
        return {}
    interval = max(1, math.ceil(container.settings.polling_interval_millis / _MILLIS))
    return {"Retry-After": str(max(interval, min(outlook.wait_seconds, _LONGEST_RETRY_SECONDS)))}


def location(request: Request, campaign_id: str, export_id: str | None = None) -> str:
    """Return the path of a campaign's exports, or of one of them, also where a proxy puts a prefix before it."""
    root = str(request.scope.get("root_path", "")).rstrip("/")
    return f"{root}/campaigns/{campaign_id}/exports" + (f"/{export_id}" if export_id else "")


def entity_tag(content: Mapping[str, Any], *, now: float, url_seconds: int, position: int | None = None) -> str:
    """Return the ETag of an export, made from everything but its pre-signed URL and the guess when it starts.

    It is weak, since that URL differs from answer to answer. A FINISHED export's tag changes twice in the life of a
    URL, so that a 304 never leaves the caller with one that has less than half of its life before it.
    """
    period = max(1.0, url_seconds / 2)
    window = int(now // period) if content["status"] == ExportStatus.FINISHED else 0
    text = json.dumps([content, position, window], sort_keys=True)
    return f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def tag_matches(if_none_match: str | None, tag: str) -> bool:
    """Apply If-None-Match (RFC 9110): ``*`` or a list of tags, compared weakly."""
    if if_none_match is None:
        return False
    candidates = [candidate.strip() for candidate in if_none_match.split(",")]
    return "*" in candidates or tag.removeprefix("W/") in [item.removeprefix("W/") for item in candidates]
