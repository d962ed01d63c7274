"""The cell rules of 03 for one BSON value: the sound path, and the words in which the fast one is checked.

Values are what ``bson`` decodes with `SOUND_CODEC`: dates are ``DatetimeMS`` and bytes that are not UTF-8 are lone
surrogates.
"""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import UUID_SUBTYPE
from bson.dbref import DBRef

from vfexport_core.catalog.expressions import ARRAY_SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is known of a cell beside its text; flags of a whole column are one integer or an array of them.
GUARDED = 1  # a string, an array or a document: the formula guard applies (a number or a date is never touched)
PRESENT = 2  # not blank although its text may be empty (an empty array), so that `a | b` stops at it
REPAIRED = 4  # held bytes that are not UTF-8, now U+FFFD

MIN_DATE_MILLIS = -62_135_596_800_000  # 0001-01-01 00:00:00.000
MAX_DATE_MILLIS = 253_402_300_799_999  # 9999-12-31 23:59:59.999

_UUID_BYTES = 16
_OBJECT_ID = re.compile(r"[0-9A-Fa-f]{24}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_JSON_TYPES = frozenset({str, bool, int, type(None)})
# One for all: `json.dumps` with options makes a new one for each call.
encode_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_REGEX_FLAGS = {2: "i", 4: "l", 8: "m", 16: "s", 32: "u", 64: "x"}


def render(value: Any) -> tuple[str | None, int]:
    """Return a value's cell: its text (None when missing or null) and its flags.

    Values of a type that 03 has no rule for are written as text that names them whole, never dropped.
    """
    if value is None:
        return None, 0
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (list, tuple)):
        return _array(value)
    if isinstance(value, DBRef):
        value = value.as_doc()
    if isinstance(value, dict):
        return _document(value)
    text = _scalar(value)
    repaired = text if text.isascii() else _repaired(text)  # a regular expression may hold bytes that are not UTF-8
    return repaired, PRESENT | (REPAIRED if repaired != text else 0)


def text_of(value: Any) -> str:
    """Return a value's cell text, empty when missing or null."""
    return render(value)[0] or ""


def id_key(value: Any) -> str:
    """Return the key by which an id is compared: its text, 24 hex digits in lower case."""
    text = text_of(value)
    return text.lower() if _OBJECT_ID.fullmatch(text) else text


def is_blank(value: Any) -> bool:
    """Return whether ``a | b`` passes over this value: missing, null or an empty string."""
    return value is None or value == ""


def _string(value: str) -> tuple[str, int]:
    flags = GUARDED | PRESENT if value else GUARDED
    if not value.isascii():
        repaired = _repaired(value)
        if repaired != value:
            value, flags = repaired, flags | REPAIRED
    return value.replace("\0", ""), flags


def _repaired(value: str) -> str:
    """Turn the bytes that were not UTF-8 into U+FFFD, as decoding with ``replace`` would have done."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _array(value: list[Any] | tuple[Any, ...]) -> tuple[str, int]:
    flags = GUARDED | PRESENT
    parts: list[str] = []
    for element in value:
        text, element_flags = render(element)
        parts.append(text or "")
        flags |= element_flags & REPAIRED
    return ARRAY_SEPARATOR.join(parts), flags


def _document(value: Mapping[str, Any]) -> tuple[str, int]:
    is_json = _JSON_TYPES.issuperset(map(type, value.values()))
    text = encode_json(value if is_json else _json(value))
    repaired = _repaired(text) if not text.isascii() else text
    return repaired, GUARDED | PRESENT | (REPAIRED if repaired != text else 0)


def _json(value: Any) -> Any:
    """Return a value as JSON has it; what JSON lacks becomes a string by the cell rules."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, DBRef):
        value = value.as_doc()
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | Int64():
            return str(int(value))
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case DatetimeMS():
            return date_text(int(value))
        case ObjectId() | Decimal128():
            return str(value)
        case _:
            return _rare_scalar(value)


def _rare_scalar(value: Any) -> str:
    match value:
        case Timestamp():
            return date_text(value.time * 1000)
        case Regex():
            letters = "".join(letter for bit, letter in _REGEX_FLAGS.items() if value.flags & bit)
            return f"/{_bytes_text(value.pattern)}/{letters}"
        case MinKey() | MaxKey():
            return type(value).__name__
        case Binary() if value.subtype == UUID_SUBTYPE and len(value) == _UUID_BYTES:
            return str(value.as_uuid())
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case _:
            return str(value)


def _bytes_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def date_text(millis: int) -> str:
    """Write a date in UTC, cut to the second; beyond the years 1-9999 as its milliseconds since the epoch."""
    if not MIN_DATE_MILLIS <= millis <= MAX_DATE_MILLIS:
        return str(millis)
    moment = _EPOCH + timedelta(seconds=millis // 1000)
    return moment.replace(tzinfo=None).isoformat(sep=" ")
