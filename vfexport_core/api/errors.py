"""The one place where errors become HTTP answers: ``{"error": {status, code, message, payload, hint}}``."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from vfexport_core.api.schemas import ErrorDetail, ErrorOut, NotReadyOut
from vfexport_core.errors import (
    INTERNAL_CODE,
    DeleteFailed,
    HashKeyMissing,
    InvalidDateKey,
    InvalidExportType,
    InvalidRequest,
    KeysUnavailable,
    MethodNotAllowed,
    NotInitialized,
    NotReady,
    RouteNotFound,
    TransientError,
    Unauthenticated,
    VfexportError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi.routing import APIRoute
    from starlette.requests import Request
    from starlette.responses import Response

    from vfexport_core.api.schemas import CheckOutcome
    from vfexport_core.errors import RequestError

_log = logging.getLogger(__name__)

# Their messages are written for callers: they name records, checks and variables, never hosts.
_TOLD = (NotReady, NotInitialized, DeleteFailed, HashKeyMissing, KeysUnavailable)
_LISTED_PROBLEMS = 5
_UNKNOWN = "extra_forbidden"
# What pydantic calls the problems of a field rather than of its value.
_NO_VALUE = ("missing", _UNKNOWN)
# The other branch of an optional field, and no way out: a null that is given is refused as well.
_NOT_NULL = "none_required"
_TRANSIENT_RETRY_SECONDS = "5"
_UNAVAILABLE_HINT = "Ask again after as many seconds as Retry-After says; GET /ready names what does not answer."
_INTERNAL_MESSAGE = "the service failed to answer; the correlation id finds the cause in its logs"


def error_response(error: VfexportError) -> Response:
    """Return the answer for `error`."""
    return _respond(error, ErrorOut(error=_detail(error)))


def not_ready_response(error: NotReady, checks: dict[str, CheckOutcome]) -> Response:
    """Return the answer for a service that cannot work, with the outcome of each check."""
    return _respond(error, NotReadyOut(error=_detail(error), checks=checks))


def internal_error_response() -> Response:
    """Return the answer for a bug: it says nothing but that there is one; the log line has the correlation id."""
    return error_response(VfexportError(_INTERNAL_MESSAGE))


async def handle_error(request: Request, error: Exception) -> Response:  # noqa: ARG001 starlette's signature
    """Answer one of the service's own errors."""
    assert isinstance(error, VfexportError)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s", error.code, error.message)
    return error_response(error)


async def handle_validation_error(request: Request, error: Exception) -> Response:  # noqa: ARG001 as above
    """Answer what a model refused."""
    assert isinstance(error, RequestValidationError)
    return error_response(request_error(error.errors()))


async def handle_http_error(request: Request, error: Exception) -> Response:
    """Answer what the router refused: an unknown path, a method that the path does not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return error_response(RouteNotFound("there is nothing at this path"))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response = error_response(MethodNotAllowed(f"{request.method[:16]} is not a method of this path"))
        response.headers["Allow"] = _allowed_methods(request)
        return response
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return error_response(InvalidRequest("the request could not be understood"))
    return internal_error_response()


def request_error(problems: Sequence[Mapping[str, Any]]) -> RequestError:
    """Return pydantic's problems as one error; values are not repeated, field names are cut.

    Unknown fields come first: the one that is missing besides may be the one that is misspelt.
    """
    problems = [problem for problem in problems if problem["type"] != _NOT_NULL]
    problems.sort(key=lambda problem: problem["type"] != _UNKNOWN)
    message = "; ".join(f"{_field(problem)}: {problem['msg']}" for problem in problems[:_LISTED_PROBLEMS])
    field, has_value = _field(problems[0]), problems[0]["type"] not in _NO_VALUE
    if field == "exportType" and has_value:
        return InvalidExportType(message)
    if field == "dateKey" and has_value:
        return InvalidDateKey(message, payload=field)
    return InvalidRequest(message, payload=field)


def _field(problem: Mapping[str, Any]) -> str:
    """Return the field of the query or body that a problem is in; what is wrong with a body as a whole is in `body`."""
    location: Sequence[object] = problem["loc"]
    return str(location[1] if len(location) > 1 else location[0])[:64]


def _respond(error: VfexportError, body: ErrorOut) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        # RFC 6750: no error code where the request did not try to authenticate at all.
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if error.payload else "Bearer"
    if isinstance(error, TransientError):
        headers["Retry-After"] = _TRANSIENT_RETRY_SECONDS
    return JSONResponse(body.model_dump(), status_code=error.status, headers=headers)


def _detail(error: VfexportError) -> ErrorDetail:
    """Choose what a caller may see: a driver's message about MongoDB or S3 names hosts, so only the log has it."""
    code, message, payload, hint = error.code, error.message, error.payload, error.hint
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, _TOLD):
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            message, hint = "MongoDB or S3 does not answer at the moment; try again later", _UNAVAILABLE_HINT
        else:
            code, message, payload, hint = INTERNAL_CODE, _INTERNAL_MESSAGE, None, VfexportError.hint
    payload = None if payload is None else _encodable(payload)
    return ErrorDetail(status=error.status, code=code, message=_encodable(message), payload=payload, hint=hint)


def _encodable(text: str) -> str:
    """Replace what is not valid Unicode (half a surrogate pair, as JSON's escapes can have it) by ``?``."""
    return text.encode("utf-8", "replace").decode()


def _allowed_methods(request: Request) -> str:
    """Return the methods of all routes of this path: the router only knows those of the first one that it tried."""
    path = request.scope["route"].path
    routes: Sequence[APIRoute] = request.app.state.routes
    return ", ".join(sorted({method for route in routes if route.path == path for method in route.methods or ()}))
