"""Requesting, reading and listing exports, cancelling them and running them again."""

# No postponed annotations here: FastAPI reads them when a route is declared.

import logging
import time
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from vfexport_core.api import cursor, examples, openapi
from vfexport_core.api.container import AppContainer, ContainerOf
from vfexport_core.api.dependencies import CallerOf, CampaignId, ExportId, actor_of
from vfexport_core.api.presenters import (
    entity_tag,
    export_json,
    hand_out,
    hand_out_page,
    location,
    outlook_of,
    polling_headers,
    present,
    tag_matches,
)
from vfexport_core.api.requests import json_body, refuse_repeated_parameters
from vfexport_core.api.schemas import ExportOut, ListQuery, NewExport
from vfexport_core.errors import (
    CampaignNotFound,
    DeliveryFailed,
    ExportNotCancelable,
    ExportNotFound,
    ExportNotRetryable,
    InvalidDateKey,
    InvalidExportType,
    InvalidRequest,
    KeysUnavailable,
    MissingDateKey,
    MissingPermissions,
    NotInitialized,
    RequestTooLarge,
    SourceUnavailable,
    Unauthenticated,
    UnknownDateKey,
)
from vfexport_core.queue.models import Export
from vfexport_core.services import exports
from vfexport_core.telemetry.logs import FIELDS_KEY

router = APIRouter(tags=["exports"])

_log = logging.getLogger(__name__)

_NEXT = openapi.links(read="read_export", cancel="cancel_export", retry="retry_export")
_STATES = {
    "FINISHED": examples.FINISHED,
    "PENDING": examples.PENDING,
    "TRIGGERED": examples.TRIGGERED,
    "FAILED": examples.FAILED,
}
_ERRORS = (Unauthenticated, KeysUnavailable, MissingPermissions, CampaignNotFound, SourceUnavailable, DeliveryFailed)


@router.post(
    "/campaigns/{campaignId}/exports",
    summary="Request an export",
    status_code=HTTPStatus.ACCEPTED,
    responses={
        HTTPStatus.ACCEPTED: openapi.described(
            "The export is new and PENDING.", "Location", "Retry-After", examples={"PENDING": examples.PENDING}
        )
        | _NEXT,
        HTTPStatus.OK: {"model": ExportOut, **_NEXT}
        | openapi.described(
            "The one that is PENDING or TRIGGERED already.",
            *("Location", "Retry-After"),
            examples={"TRIGGERED": examples.TRIGGERED},
        ),
        **openapi.errors(
            *(InvalidRequest, InvalidExportType, MissingDateKey, InvalidDateKey, UnknownDateKey, RequestTooLarge),
            *(NotInitialized, *_ERRORS),
        ),
    },
    openapi_extra=openapi.request_body(NewExport),
)
def request_export(
    *,
    request: Request,
    response: Response,
    container: ContainerOf,
    caller: CallerOf,
    campaign_id: CampaignId,
    wanted: Annotated[NewExport, json_body(NewExport)],
) -> ExportOut:
    """Queue an export and answer at once (L1), or give the one of the same type and dateKey that is active (L3)."""
    export, created = exports.request(
        container.backend,
        exports.ExportRequest(
            spec=container.catalog.find(wanted.export_type),
            campaign_id=campaign_id,
            date_key=wanted.date_key,
            include_all_markets=wanted.include_all_markets,
            by=actor_of(caller),
        ),
    )
    _log.info("export requested", extra={FIELDS_KEY: {"exportId": export.id, "isNew": created}})
    if not created:
        response.status_code = HTTPStatus.OK
    return _located(request, response, container, export)


@router.get(
    "/campaigns/{campaignId}/exports/{exportId}",
    summary="Read an export",
    response_model=ExportOut,
    responses={
        HTTPStatus.OK: openapi.described("The export.", "ETag", "Retry-After", examples=_STATES),
        HTTPStatus.NOT_MODIFIED: openapi.described(
            "The export is as it was when the ETag was given.", "ETag", "Retry-After"
        ),
        **openapi.errors(ExportNotFound, *_ERRORS),
    },
)
def read_export(
    *,
    response: Response,
    container: ContainerOf,
    caller: CallerOf,
    campaign_id: CampaignId,
    export_id: ExportId,
    if_none_match: Annotated[list[str], Header(default_factory=list, description="ETags of earlier answers.")],
) -> ExportOut | Response:
    """Return one export; poll it with `If-None-Match`, when `Retry-After` says, or sooner to see its progress."""
    export = exports.read(container.backend, export_id, campaign_id)
    outlook = outlook_of(export, container)
    tag = entity_tag(
        export_json(export),
        now=time.time(),
        url_seconds=container.settings.signed_url_seconds,
        position=None if outlook.place is None else outlook.place.position,
    )
    headers = polling_headers(export, outlook, container) | {"ETag": tag}
    if tag_matches(", ".join(if_none_match), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    response.headers.update(headers)
    return hand_out(export, container, actor_of(caller), outlook)


@router.get(
    "/campaigns/{campaignId}/exports",
    summary="List a campaign's exports",
    responses={
        HTTPStatus.OK: openapi.described(
            "A page of exports, newest first unless asked otherwise.",
            "Link",
            examples={"page": [examples.FINISHED, examples.FAILED]},
        ),
        **openapi.errors(InvalidRequest, InvalidExportType, *_ERRORS),
    },
)
def list_exports(
    *,
    request: Request,
    response: Response,
    container: ContainerOf,
    caller: CallerOf,
    campaign_id: CampaignId,
    _once: Annotated[None, Depends(refuse_repeated_parameters)],
    query: Annotated[ListQuery, Query()],
) -> list[ExportOut]:
    """List exports page by page; pages stay right while exports are added. Follow `Link` for the next one."""
    scope = query.list_scope(campaign_id)
    found = container.queue.list(
        campaign_id=campaign_id,
        export_type=None if query.export_type is None else container.catalog.find(query.export_type).type,
        status=query.status,
        campaign_name=query.campaign_name,
        since=query.since,
        until=query.until,
        descending=query.descending,
        limit=query.limit + 1,  # one more tells whether there is a next page
        after=None if query.cursor is None else cursor.decode(query.cursor, scope),
    )
    if not found:
        container.backend.campaign(campaign_id)  # an empty list may mean that there is no such campaign
    page = found[: query.limit]
    if len(found) > len(page):
        following = query.parameters() | {"cursor": cursor.encode(page[-1].position, scope)}
        response.headers["Link"] = f'<{location(request, campaign_id)}?{urlencode(following)}>; rel="next"'
    return hand_out_page(page, container, actor_of(caller))


@router.post(
    "/campaigns/{campaignId}/exports/{exportId}/cancel",
    summary="Cancel an export",
    status_code=HTTPStatus.ACCEPTED,
    responses={
        HTTPStatus.ACCEPTED: openapi.described(
            "The export is CANCELED, or will be when its run has seen it.",
            *("Location", "Retry-After"),
            examples={"CANCELED": examples.CANCELED},
        ),
        **openapi.errors(ExportNotFound, ExportNotCancelable, *_ERRORS),
    },
)
def cancel_export(
    *,
    request: Request,
    response: Response,
    container: ContainerOf,
    caller: CallerOf,
    campaign_id: CampaignId,
    export_id: ExportId,
) -> ExportOut:
    """Cancel a PENDING export at once, a TRIGGERED one by its run; one that finishes before that stays FINISHED."""
    export = exports.cancel(container.backend, export_id, campaign_id, by=actor_of(caller))
    return _changed(request, response, container, export)


@router.post(
    "/campaigns/{campaignId}/exports/{exportId}/retry",
    summary="Run an export again",
    status_code=HTTPStatus.ACCEPTED,
    responses={
        HTTPStatus.ACCEPTED: openapi.described(
            "The export is PENDING again, in a new attempt.",
            *("Location", "Retry-After"),
            examples={"PENDING": examples.PENDING_AGAIN},
        ),
        **openapi.errors(ExportNotFound, ExportNotRetryable, NotInitialized, *_ERRORS),
    },
)
def retry_export(
    *,
    request: Request,
    response: Response,
    container: ContainerOf,
    caller: CallerOf,
    campaign_id: CampaignId,
    export_id: ExportId,
) -> ExportOut:
    """Start a new attempt of a FAILED, EXPIRED or CANCELED export (L8); it has its old place in the queue."""
    export = exports.retry(container.backend, export_id, campaign_id, by=actor_of(caller))
    return _changed(request, response, container, export)


def _changed(request: Request, response: Response, container: AppContainer, export: Export) -> ExportOut:
    _log.info("export changed", extra={FIELDS_KEY: {"exportId": export.id, "exportStatus": export.status.value}})
    return _located(request, response, container, export)


def _located(request: Request, response: Response, container: AppContainer, export: Export) -> ExportOut:
    """Return the export with its outlook; headers say where and when it can be read."""
    outlook = outlook_of(export, container)
    response.headers["Location"] = location(request, export.campaign_id, export.id)
    response.headers.update(polling_headers(export, outlook, container))
    return present(export, container, outlook)
