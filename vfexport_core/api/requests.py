"""JSON bodies, read strictly: limited in size and depth, UTF-8, no key twice; then validated by their model.

They are read by a dependency, not by the framework, which reads before it asks for anything else: here the token and
the permission are checked before a byte of the body is looked at.
"""

from __future__ import annotations

import json
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from fastapi import Depends, Request
from pydantic import ValidationError

from vfexport_core.api.errors import request_error
from vfexport_core.api.schemas import RequestModel
from vfexport_core.errors import InvalidRequest, RequestTooLarge
from vfexport_core.mongo.document import has_lone_surrogate

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_BODY = 64 * 1024

_DEEPEST = 16
_SHOWN_CHARACTERS = 64
_MEDIA_TYPE = "application/json"

Model = TypeVar("Model", bound=RequestModel)


def json_body(model: type[Model]) -> Any:
    """Return the dependency that reads the request's body as `model`.

    Declare it after those that must succeed before the body is read.
    """

    async def read(request: Request) -> Model:
        try:
            return parse_body(model, await read_body(request))
        except InvalidRequest as error:
            if error.status == HTTPStatus.BAD_REQUEST:
                error.hint = f"Send a JSON body such as {json.dumps(model.example)}."
            raise

    return Depends(read)


async def read_body(request: Request) -> bytes:
    """Return the body of a JSON request.

    Raises InvalidRequest for another content type (none at all counts as JSON), RequestTooLarge above `LARGEST_BODY`.
    """
    content_type = request.headers.get("content-type", _MEDIA_TYPE).partition(";")[0].strip().lower()
    if content_type != _MEDIA_TYPE:
        raise InvalidRequest(f"the Content-Type must be {_MEDIA_TYPE}", payload="Content-Type")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise RequestTooLarge(f"the body is larger than {LARGEST_BODY} bytes", payload="body")
    return bytes(body)


def parse_body(model: type[Model], body: bytes) -> Model:
    """Return the body as `model`; raises InvalidRequest, InvalidExportType, InvalidDateKey."""
    try:
        return model.model_validate(parse_object(body), by_alias=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise request_error([{**problem, "loc": ("body", *problem["loc"])} for problem in problems]) from None


def parse_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object; raises InvalidRequest for anything else, for duplicated keys and for deep nesting."""
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8", payload="body") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply", payload="body") from None
    except ValueError:
        raise InvalidRequest("the body is not JSON", payload="body") from None
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object", payload="body")
    _refuse_depth(document)
    return document


async def refuse_repeated_parameters(request: Request) -> None:
    """Raise InvalidRequest when a query parameter comes twice: which one is meant cannot be told."""
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if times > 1:
            raise InvalidRequest(f"{_cut(name)}: is given {times} times", payload=_cut(name))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    for name in document:
        if has_lone_surrogate(name):
            raise InvalidRequest(f"{_cut(name)}: is not Unicode text", payload=_cut(name))
    if len(document) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise InvalidRequest(f"{_cut(twice)}: is given twice", payload=_cut(twice))
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON


def _refuse_depth(document: Any) -> None:
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        level = [item for value in level if isinstance(value, (dict, list)) for item in _members(value)]
        if not level:
            return
    raise InvalidRequest("the body is nested too deeply", payload="body")


def _members(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _cut(name: str) -> str:
    return name[:_SHOWN_CHARACTERS]
