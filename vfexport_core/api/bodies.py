"""Request bodies, read strictly: what is not exactly as documented is refused with the field's name and the reason.

Bodies are read here rather than by the framework so that tokens and permissions are checked before a byte of them is
looked at, and so that duplicated keys, deep nesting and bad UTF-8 get the same clean answer as any other mistake.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from vfexport_core.errors import InvalidRequest, RequestTooLarge
from vfexport_core.services.request_export import check_date_key, given_date_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

    from vfexport_core.catalog import ExportSpec, Registry

LARGEST_BODY = 64 * 1024
CAMPAIGN_KEY_PATTERN = r"(?:\*|[0-9A-Fa-f]{24})"
PERMISSION_PATTERN = "[A-Z_]{1,64}"
USER_ID_PATTERN = "[A-Za-z0-9._@:|-]{1,128}"
MOST_CAMPAIGNS = 200
MOST_PERMISSIONS = 20

_DEEPEST = 16
_SHOWN_CHARACTERS = 64
_DRAINED_BYTES = 16 * 1024 * 1024
_MEDIA_TYPE = "application/json"


async def read_body(request: Request) -> bytes:
    """Read the body of a JSON request.

    Raises InvalidRequest for another content type (none at all counts as JSON), RequestTooLarge above `LARGEST_BODY`.
    """
    content_type = request.headers.get("content-type", _MEDIA_TYPE).partition(";")[0].strip().lower()
    if content_type != _MEDIA_TYPE:
        raise InvalidRequest(f"the Content-Type must be {_MEDIA_TYPE}", payload="Content-Type")
    body, total = bytearray(), 0
    async for chunk in request.stream():
        total += len(chunk)
        if total <= LARGEST_BODY:
            body += chunk
        elif total > _DRAINED_BYTES:
            break
        # What is too long is read on and dropped: a client that still sends would not see the answer.
    if total > LARGEST_BODY:
        raise RequestTooLarge(f"the body is larger than {LARGEST_BODY} bytes", payload="body")
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object; raises InvalidRequest for anything else, for duplicated keys and for deep nesting."""
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
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


def _refuse_unknown(document: dict[str, Any], known: Iterable[str]) -> None:
    for name in document:
        if name not in known:
            raise InvalidRequest(f"{_cut(name)}: is not a field of this request", payload=_cut(name))


def _cut(name: str) -> str:
    return name[:_SHOWN_CHARACTERS]


@dataclass(frozen=True, slots=True)
class ExportBody:
    """What is asked for; `date_key` is None when the request has none."""

    spec: ExportSpec
    date_key: str | None
    include_all_markets: bool


def parse_export_body(body: bytes, catalog: Registry) -> ExportBody:
    """Read ``{exportType, dateKey?, includeAllMarkets?}``.

    Raises InvalidRequest, InvalidExportType, MissingDateKey or InvalidDateKey for the first mistake.
    """
    document = parse_object(body)
    _refuse_unknown(document, ("exportType", "dateKey", "includeAllMarkets"))
    if "exportType" not in document:
        raise InvalidRequest("exportType: is missing", payload="exportType")
    spec = catalog.find(document["exportType"])
    all_markets = document.get("includeAllMarkets", False)
    if not isinstance(all_markets, bool):
        raise InvalidRequest("includeAllMarkets: must be true or false", payload="includeAllMarkets")
    return ExportBody(spec, _date_key(document, spec), all_markets)


def _date_key(document: dict[str, Any], spec: ExportSpec) -> str | None:
    if "dateKey" in document:
        return given_date_key(document["dateKey"])
    check_date_key(spec, None)
    return None


@dataclass(frozen=True, slots=True)
class TokenBody:
    """For whom a token for trying things out is made, and what it allows."""

    user_id: str
    permissions: dict[str, list[str]]
    supreme: bool


def parse_token_body(body: bytes) -> TokenBody:
    """Read ``{userId, permissions, supreme?}``; raises InvalidRequest."""
    document = parse_object(body)
    _refuse_unknown(document, ("userId", "permissions", "supreme"))
    user_id, supreme = document.get("userId"), document.get("supreme", False)
    if not isinstance(user_id, str) or not re.fullmatch(USER_ID_PATTERN, user_id):
        raise InvalidRequest(f"userId: must be a string like {USER_ID_PATTERN}", payload="userId")
    if not isinstance(supreme, bool):
        raise InvalidRequest("supreme: must be true or false", payload="supreme")
    return TokenBody(user_id, _permissions(document.get("permissions")), supreme)


def _permissions(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, dict) or len(value) > MOST_CAMPAIGNS:
        raise InvalidRequest(
            f"permissions: must be an object of at most {MOST_CAMPAIGNS} campaigns", payload="permissions"
        )
    for campaign_id, names in value.items():
        if not re.fullmatch(CAMPAIGN_KEY_PATTERN, campaign_id):
            raise InvalidRequest("permissions: keys are campaign ids or *", payload="permissions")
        if not isinstance(names, list) or len(names) > MOST_PERMISSIONS or not all(map(_is_permission, names)):
            raise InvalidRequest(
                f"permissions: values are lists of at most {MOST_PERMISSIONS} names like REPORT", payload="permissions"
            )
    return value


def _is_permission(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(PERMISSION_PATTERN, name) is not None
