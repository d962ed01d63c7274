"""What routes say about their answers in the OpenAPI document: statuses, error codes, headers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from vfexport_core.api.errors import ErrorAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

Responses: TypeAlias = dict[int | str, dict[str, Any]]

UNAUTHENTICATED = {HTTPStatus.UNAUTHORIZED: ("Unauthenticated",)}
NO_PERMISSION = {HTTPStatus.FORBIDDEN: ("MissingPermissions",)}
BAD_EXPORT_BODY = {
    HTTPStatus.BAD_REQUEST: ("InvalidRequest", "InvalidExportType", "MissingDateKey", "InvalidDateKey"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("InvalidRequest",),
}
BAD_QUERY = {HTTPStatus.BAD_REQUEST: ("InvalidRequest", "InvalidExportType")}
BAD_TOKEN_BODY = {
    HTTPStatus.BAD_REQUEST: ("InvalidRequest",),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("InvalidRequest",),
}
NO_CAMPAIGN = {HTTPStatus.NOT_FOUND: ("CampaignNotFound",)}
NO_EXPORT = {HTTPStatus.NOT_FOUND: ("ExportNotFound", "CampaignNotFound")}
UNAVAILABLE = {HTTPStatus.SERVICE_UNAVAILABLE: ("SourceUnavailable", "DeliveryFailed")}
NOT_DELETED = {HTTPStatus.INTERNAL_SERVER_ERROR: ("DeleteFailed", "ConfigurationError", "InternalError")}
BAD_USER_ID = {HTTPStatus.BAD_REQUEST: ("InvalidRequest",)}
NOT_READY = {HTTPStatus.SERVICE_UNAVAILABLE: ("NotReady",)}

_HEADERS = {
    "Location": ("Where the export can be read.", {"type": "string"}),
    "Retry-After": ("After how many seconds asking again makes sense.", {"type": "integer", "minimum": 1}),
    "ETag": ("The state of the export, for If-None-Match.", {"type": "string"}),
    "Link": ('The next page: `<...>; rel="next"`.', {"type": "string"}),
    "Cache-Control": ("Who may keep the answer.", {"type": "string"}),
    "WWW-Authenticate": ("How to authenticate.", {"type": "string"}),
}
_ERROR_HEADERS = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate",),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After",),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("Retry-After",),
}


def described(text: str, *headers: str) -> dict[str, Any]:
    """Describe one answer and the headers it may carry."""
    return {"description": text, "headers": _headers(headers)} if headers else {"description": text}


def links(**operations: str) -> dict[str, Any]:
    """Describe what can be done next with the export in the answer: the id of the operation, by the link's name."""
    parameters = {"campaignId": "$response.body#/campaignId", "exportId": "$response.body#/id"}
    return {
        "links": {name: {"operationId": operation, "parameters": parameters} for name, operation in operations.items()}
    }


def errors(*groups: dict[HTTPStatus, tuple[str, ...]]) -> Responses:
    """Describe the error answers of a route: their bodies are all of one form."""
    codes: dict[HTTPStatus, list[str]] = {}
    for group in groups:
        for status, names in group.items():
            codes.setdefault(status, []).extend(names)
    return {
        status.value: {
            "model": ErrorAnswer,
            **described(f"{status.phrase}: {', '.join(names)}.", *_ERROR_HEADERS.get(status, ())),
        }
        for status, names in sorted(codes.items())
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"description": _HEADERS[name][0], "schema": _HEADERS[name][1]} for name in names}
