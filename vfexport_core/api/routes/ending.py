"""Cancelling exports and running them again."""

# No postponed annotations here: FastAPI reads them when a route is declared.

import logging
from collections.abc import Callable
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from vfexport_core.api import answers
from vfexport_core.api.dependencies import CampaignId, ExportInPath, canonical_id
from vfexport_core.api.errors import JsonAnswer
from vfexport_core.api.presenting import full_wire, location, place_in_queue, polling_headers, waiting_wire
from vfexport_core.api.services import Services, services_of
from vfexport_core.api.wire import ExportWire
from vfexport_core.errors import ExportNotFound
from vfexport_core.queue.models import Export
from vfexport_core.sources.campaigns import find_campaign
from vfexport_core.telemetry.logs import FIELDS_KEY

router = APIRouter(tags=["exports"])

_log = logging.getLogger(__name__)


def _responses(text: str, *conflict: str) -> answers.Responses:
    return {
        HTTPStatus.ACCEPTED: answers.described(text, "Location", "Retry-After"),
        **answers.errors(
            answers.UNAUTHENTICATED,
            answers.NO_PERMISSION,
            answers.NO_EXPORT,
            {HTTPStatus.CONFLICT: conflict},
            answers.UNAVAILABLE,
        ),
    }


@router.post(
    "/campaigns/{campaignId}/exports/{exportId}/cancel",
    summary="Cancel an export",
    response_model=ExportWire,
    status_code=HTTPStatus.ACCEPTED,
    responses=_responses("The export is CANCELED, or will be when its run has seen it.", "ExportNotCancelable"),
)
def cancel_export(request: Request, campaign_id: CampaignId, export_id: ExportInPath) -> Response:
    """Cancel a PENDING export at once, a TRIGGERED one by its run; one that finishes before that stays FINISHED."""
    services = services_of(request)
    return _change(request, services, campaign_id, export_id, services.store.request_cancel)


@router.post(
    "/campaigns/{campaignId}/exports/{exportId}/retry",
    summary="Run an export again",
    response_model=ExportWire,
    status_code=HTTPStatus.ACCEPTED,
    responses=_responses("The export is PENDING again, in a new attempt.", "ExportNotRetryable"),
)
def retry_export(request: Request, campaign_id: CampaignId, export_id: ExportInPath) -> Response:
    """Start a new attempt of a FAILED, EXPIRED or CANCELED export (L8); it has its old place in the queue."""
    services = services_of(request)
    return _change(request, services, campaign_id, export_id, services.store.retry)


def _change(
    request: Request,
    services: Services,
    campaign_id: str,
    export_id: str,
    change: Callable[[str, str], Export],
) -> Response:
    try:
        export = change(canonical_id(export_id), campaign_id)
    except ExportNotFound:
        find_campaign(services.database, campaign_id)  # then it is the campaign that is not there
        raise
    _log.info("export changed", extra={FIELDS_KEY: {"exportId": export.id, "exportStatus": export.status.value}})
    place = place_in_queue(export, services)
    headers = polling_headers(export, place, services) | {"Location": location(request, export)}
    wire = waiting_wire(full_wire(export, services), place)
    return JsonAnswer(wire, status_code=HTTPStatus.ACCEPTED, headers=headers)
