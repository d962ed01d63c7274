"""Requesting and reading exports."""

# No postponed annotations here: FastAPI reads them when a route is declared.

import logging
import time
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from vfexport_core.api import answers, correlation, cursor
from vfexport_core.api.bodies import parse_export_body
from vfexport_core.api.dependencies import (
    CallerOf,
    CampaignId,
    ExportInPath,
    PermittedBody,
    canonical_id,
    refuse_repeated_parameters,
)
from vfexport_core.api.errors import JsonAnswer
from vfexport_core.api.presenting import (
    full_wire,
    location,
    place_in_queue,
    polling_headers,
    root_path,
    waiting_wire,
)
from vfexport_core.api.queries import ListQuery
from vfexport_core.api.services import services_of
from vfexport_core.api.wire import ExportWire, entity_tag, export_wire, tag_matches
from vfexport_core.errors import ExportNotFound
from vfexport_core.services.request_export import new_export
from vfexport_core.sources.campaigns import find_campaign
from vfexport_core.telemetry import context
from vfexport_core.telemetry.logs import FIELDS_KEY

router = APIRouter(tags=["exports"])

_log = logging.getLogger(__name__)

_WHAT_NEXT = answers.links(read="read_export", cancel="cancel_export", retry="retry_export")


@router.post(
    "/campaigns/{campaignId}/exports",
    summary="Request an export",
    response_model=ExportWire,
    status_code=HTTPStatus.ACCEPTED,
    response_description="The export is new and PENDING.",
    responses={
        HTTPStatus.ACCEPTED: {
            **answers.described("The export is new and PENDING.", "Location", "Retry-After"),
            **_WHAT_NEXT,
        },
        HTTPStatus.OK: {
            "model": ExportWire,
            **answers.described("The one that is PENDING or TRIGGERED already.", "Location", "Retry-After"),
            **_WHAT_NEXT,
        },
        **answers.errors(
            answers.UNAUTHENTICATED,
            answers.NO_PERMISSION,
            answers.BAD_EXPORT_BODY,
            answers.NO_CAMPAIGN,
            answers.UNAVAILABLE,
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewExport"}}},
        }
    },
)
def request_export(request: Request, caller: CallerOf, campaign_id: CampaignId, body: PermittedBody) -> Response:
    """Queue an export and answer at once (L1), or give the one of the same type and dateKey that is active (L3)."""
    services = services_of(request)
    wanted = parse_export_body(body, services.catalog)
    export, created = services.store.request(
        new_export(
            services.database,
            wanted.spec,
            campaign_id,
            date_key=wanted.date_key,
            include_all_markets=wanted.include_all_markets,
            requester_user_id=caller.user_id,
            correlation_id=context.correlation_id() or correlation.accept(None),
            source="api",
        )
    )
    _log.info("export requested", extra={FIELDS_KEY: {"exportId": export.id, "isNew": created}})
    place = place_in_queue(export, services)
    headers = polling_headers(export, place, services) | {"Location": location(request, export)}
    status = HTTPStatus.ACCEPTED if created else HTTPStatus.OK
    return JsonAnswer(waiting_wire(full_wire(export, services), place), status_code=status, headers=headers)


@router.get(
    "/campaigns/{campaignId}/exports/{exportId}",
    summary="Read an export",
    response_model=ExportWire,
    responses={
        HTTPStatus.OK: answers.described("The export.", "ETag", "Retry-After", "Cache-Control"),
        HTTPStatus.NOT_MODIFIED: answers.described(
            "The export is as it was when the ETag was given.", "ETag", "Retry-After", "Cache-Control"
        ),
        **answers.errors(answers.UNAUTHENTICATED, answers.NO_PERMISSION, answers.NO_EXPORT, answers.UNAVAILABLE),
    },
)
def read_export(
    request: Request,
    campaign_id: CampaignId,
    export_id: ExportInPath,
    if_none_match: Annotated[list[str] | None, Header(description="ETags of earlier answers.")] = None,
) -> Response:
    """Give one export; poll it with `If-None-Match`, no more often than `Retry-After` says."""
    services = services_of(request)
    try:
        export = services.store.get(canonical_id(export_id), campaign_id)
    except ExportNotFound:
        find_campaign(services.database, campaign_id)  # then it is the campaign that is not there
        raise
    place = place_in_queue(export, services)
    wire = export_wire(export)
    tag = entity_tag(
        wire,
        now=time.time(),
        url_seconds=services.settings.signed_url_seconds,
        position=None if place is None else place.position,
    )
    headers = polling_headers(export, place, services) | {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag_matches(", ".join(if_none_match or []), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return JsonAnswer(waiting_wire(full_wire(export, services), place), headers=headers)


@router.get(
    "/campaigns/{campaignId}/exports",
    summary="List a campaign's exports",
    response_model=list[ExportWire],
    responses={
        HTTPStatus.OK: answers.described("A page of exports, newest first unless asked otherwise.", "Link"),
        **answers.errors(
            answers.UNAUTHENTICATED,
            answers.NO_PERMISSION,
            answers.BAD_QUERY,
            answers.NO_CAMPAIGN,
            answers.UNAVAILABLE,
        ),
    },
    dependencies=[Depends(refuse_repeated_parameters)],
)
def list_exports(request: Request, campaign_id: CampaignId, query: Annotated[ListQuery, Query()]) -> Response:
    """List exports page by page; pages stay right while exports are added. Follow `Link` for the next one."""
    services = services_of(request)
    scope = query.list_scope(campaign_id)
    found = services.store.list(
        campaign_id=campaign_id,
        export_type=None if query.export_type is None else services.catalog.find(query.export_type).type,
        status=query.status,
        descending=query.descending,
        limit=query.limit + 1,  # one more tells whether there is a next page
        after=None if query.cursor is None else cursor.decode(query.cursor, scope),
    )
    if not found:
        find_campaign(services.database, campaign_id)  # an empty list may mean that there is no such campaign
    page = found[: query.limit]
    headers = {}
    if len(found) > len(page):
        following = query.parameters() | {"cursor": cursor.encode(page[-1].position, scope)}
        path = f"{root_path(request)}/campaigns/{campaign_id}/exports"
        headers["Link"] = f'<{path}?{urlencode(following)}>; rel="next"'
    return JsonAnswer([full_wire(export, services) for export in page], headers=headers)
