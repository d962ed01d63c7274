"""The one place where errors become HTTP answers: ``{"error": {status, code, message, payload}}``, whatever failed."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from typing_extensions import TypedDict

from vfexport_core.errors import (
    INTERNAL_CODE,
    DeleteFailed,
    HashKeyMissing,
    InvalidRequest,
    MethodNotAllowed,
    NotReady,
    RouteNotFound,
    TransientError,
    Unauthenticated,
    VfexportError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

_log = logging.getLogger(__name__)

# Their messages are written for callers: they name records, checks and variables, never hosts.
_TOLD = (NotReady, DeleteFailed, HashKeyMissing)
_LISTED_PROBLEMS = 5
_TRANSIENT_RETRY_SECONDS = "5"
_INTERNAL_MESSAGE = "the service failed to answer; the correlation id finds the cause in its logs"


class ErrorDetail(TypedDict):
    status: int
    code: str
    message: str
    payload: str | None


class ErrorAnswer(TypedDict):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class JsonAnswer(Response):
    """A JSON body that can always be sent: what is not valid Unicode in it (half a surrogate pair) becomes ``?``."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def error_answer(error: VfexportError, extra: Mapping[str, Any] | None = None) -> JsonAnswer:
    """Make the answer for `error`; `extra` are further members beside ``error``."""
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        # RFC 6750: no error code where the request did not try to authenticate at all.
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if error.payload else "Bearer"
    if isinstance(error, TransientError):
        headers["Retry-After"] = _TRANSIENT_RETRY_SECONDS
    body: ErrorAnswer = {"error": _detail(error)}
    return JsonAnswer({**body, **(extra or {})}, status_code=error.status, headers=headers)


def internal_error() -> JsonAnswer:
    """Make the answer for a bug: it says nothing but that there is one; the log line has the correlation id."""
    return error_answer(VfexportError(_INTERNAL_MESSAGE))


def _detail(error: VfexportError) -> ErrorDetail:
    """Choose what a caller may see: a driver's message about MongoDB or S3 names hosts, so only the log has it."""
    detail: ErrorDetail = {
        "status": error.status,
        "code": error.code,
        "message": error.message,
        "payload": error.payload,
    }
    if error.status < HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(error, _TOLD):
        return detail
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {**detail, "message": "MongoDB or S3 does not answer at the moment; try again later"}
    return {**detail, "code": INTERNAL_CODE, "message": _INTERNAL_MESSAGE, "payload": None}


async def answer_error(request: Request, error: Exception) -> Response:  # noqa: ARG001 starlette's signature
    """Answer one of the service's own errors."""
    assert isinstance(error, VfexportError)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s", error.code, error.message)
    return error_answer(error)


async def answer_validation_error(request: Request, error: Exception) -> Response:  # noqa: ARG001 as above
    """Answer what the framework refused (query parameters), as InvalidRequest that says which field and why."""
    assert isinstance(error, RequestValidationError)
    return error_answer(describe_problems(error.errors()))


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Answer what the router refused: an unknown path, a method that the path does not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return error_answer(RouteNotFound("there is nothing at this path"))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer = error_answer(MethodNotAllowed(f"{request.method[:16]} is not a method of this path"))
        allowed = _allowed_methods(request) or (error.headers or {}).get("allow", "")
        answer.headers["Allow"] = allowed
        return answer
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return error_answer(InvalidRequest("the request could not be understood"))
    return internal_error()


def _allowed_methods(request: Request) -> str:
    """Collect the methods of all routes with this path: the router only knows those of the first one it tried."""
    path = getattr(request.scope.get("route"), "path", None)
    methods: Mapping[str, Sequence[str]] = request.app.state.methods
    return ", ".join(methods.get(path, ())) if path is not None else ""


def describe_problems(problems: Sequence[Any]) -> InvalidRequest:
    """Turn pydantic's problems into one InvalidRequest; values are not repeated, field names are cut."""
    named = [(_field(problem), str(problem["msg"])) for problem in problems[:_LISTED_PROBLEMS]]
    return InvalidRequest("; ".join(f"{field}: {why}" for field, why in named), payload=named[0][0])


def _field(problem: Any) -> str:
    """Name the field of a problem, without the ``query`` or ``body`` in front of it."""
    location = [str(part)[:64] for part in problem["loc"]]
    return ".".join(location[1:] or location)
