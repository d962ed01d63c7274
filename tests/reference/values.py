"""03 "Cells": one BSON value becomes the text of one cell. Literal and slow on purpose.

Values are what ``bson.decode`` gives with ``unicode_decode_error_handler="surrogateescape"``: a byte that is not UTF-8
is a lone surrogate U+DC80..U+DCFF. A missing field is None, like null: no cell rule tells them apart.

Where 03 is silent:
- A path that runs through an array (``origin`` is an array of documents) gives the array of the values found in its
  documents, as MongoDB's own ``$project`` does: nothing is lost.
- Where 02 has an array, any other value (neither missing nor null) counts as an array of that one element.
- A key inside a document with bytes that are not UTF-8 gets U+FFFD too, but only values count in ``invalidUtf8``.
- UUID text only for 16 bytes of subtype 4; shorter ones cannot be a UUID and are base64.
"""

from __future__ import annotations

import base64
import codecs
import json
import math
import re
import uuid
from datetime import UTC, datetime, timedelta

from bson import DatetimeMS, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import Binary
from bson.dbref import DBRef

MISSING = object()
# Stands in a text for a U+FFFD that took the place of invalid bytes, so that it can be told from one that was there.
REPLACED = "\udfff"
codecs.register_error("vfexport-reference", lambda error: (REPLACED, error.end))

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_1_MS = -62_135_596_800_000
YEAR_10000_MS = 253_402_300_800_000
# In the order in which BSON keeps them.
REGEX_FLAGS = {
    "i": re.IGNORECASE,
    "l": re.LOCALE,
    "m": re.MULTILINE,
    "s": re.DOTALL,
    "u": re.UNICODE,
    "x": re.VERBOSE,
}
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
SEPARATORS = ";\t\r\n"
PHONE_OR_NUMBER = re.compile(r"[+-]?[0-9][0-9 ().-]*")


class Text(str):
    """A string that a column has already composed by the cell rules (``7/04 - Austin, TX``)."""

    __slots__ = ()


def text(value: object) -> str:  # noqa: PLR0911 one return per rule
    """Return the cell's text; U+FFFD that replaces invalid bytes is still `REPLACED`."""
    if value is None:
        return ""
    if isinstance(value, Text):
        return value
    if isinstance(value, str):  # Code too
        return marked(value).replace("\0", "")
    if isinstance(value, bool | int | float | Decimal128):
        return number_text(value)
    if isinstance(value, DatetimeMS | datetime):
        return date_text(millis(value))
    if isinstance(value, Timestamp):
        return date_text(value.time * 1000)
    if isinstance(value, list):
        return ";".join(text(element) for element in value)
    if document(value) is not None:
        return json.dumps(json_value(value), separators=(",", ":"), ensure_ascii=False)
    return special_text(value)


def number_text(value: float | Decimal128) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(int(value))
    return str(value)


def special_text(value: object) -> str:
    if isinstance(value, ObjectId | uuid.UUID):
        return str(value)
    if isinstance(value, bytes):  # Binary too
        if isinstance(value, Binary) and value.subtype == 4 and len(value) == 16:
            return str(uuid.UUID(bytes=bytes(value)))
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Regex):
        flags = "".join(letter for letter, flag in REGEX_FLAGS.items() if value.flags & flag)
        return f"/{marked(value.pattern)}/{flags}"
    if isinstance(value, MinKey):
        return "MinKey"
    if isinstance(value, MaxKey):
        return "MaxKey"
    raise TypeError(f"no cell rule for {type(value)}")


def json_value(value: object) -> object:  # noqa: PLR0911 one return per rule
    """Return what ``json.dumps`` is to write for a value inside a document."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else text(value)
    if type(value) is str:
        return marked(value)
    if isinstance(value, list):
        return [json_value(element) for element in value]
    fields = document(value)
    if fields is not None:
        named = [(clean(marked(key)), inner) for key, inner in fields.items()]
        return {key: json_value(inner) for key, inner in sorted(named, key=lambda pair: pair[0])}
    return text(value)


def marked(string: str) -> str:
    """Put `REPLACED` wherever ``bytes.decode("utf-8", "replace")`` puts U+FFFD."""
    return string.encode("utf-8", "surrogateescape").decode("utf-8", "vfexport-reference")


def clean(string: str) -> str:
    return string.replace(REPLACED, "\ufffd")


def plain(value: object) -> str:
    """Return the cell's text with U+FFFD in place."""
    return clean(text(value))


def millis(value: DatetimeMS | datetime) -> int:
    if isinstance(value, DatetimeMS):
        return int(value)
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(milliseconds=1)


def utc(milliseconds: int) -> datetime | None:
    """Return the instant as a datetime, None outside the years 1-9999."""
    if YEAR_1_MS <= milliseconds < YEAR_10000_MS:
        return EPOCH + timedelta(milliseconds=milliseconds)
    return None


def date_text(milliseconds: int) -> str:
    when = utc(milliseconds)
    if when is None:
        return str(milliseconds)
    return f"{when.year:04}-{when.month:02}-{when.day:02} {when.hour:02}:{when.minute:02}:{when.second:02}"


def guarded(value: object, cell: str) -> str:
    """Put ``'`` before what a spreadsheet takes for a formula (strings, arrays, documents only).

    That is a cell that begins like one (or with a tab or a line end), and in any cell each piece behind a character
    that other readers of CSV may take for a separator.
    """
    if not isinstance(value, str | list) and document(value) is None:
        return cell
    first, *others = re.split(f"([{SEPARATORS}])", cell)
    written = first + "".join("'" + piece if like_a_formula(piece) else piece for piece in others)
    starts_oddly = cell[:1] in {"\t", "\r", "\n"}
    return "'" + written if starts_oddly or like_a_formula(cell) else written


def like_a_formula(text: str) -> bool:
    return text.startswith(FORMULA_STARTS) and not PHONE_OR_NUMBER.fullmatch(text)


def quoted(cell: str) -> str:
    if any(character in cell for character in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def present(value: object) -> bool:
    """Say whether a value is neither missing, null nor an empty string."""
    return value is not None and not (type(value) is str and value == "")


def either(*values: object) -> object:
    """Return ``a | b | ...``: the first that is present, else the last."""
    for value in values:
        if present(value):
            return value
    return values[-1]


def document(value: object) -> dict[str, object] | None:
    """Return an embedded document's fields, None for any other value."""
    if isinstance(value, DBRef):
        return dict(value.as_doc())
    return value if isinstance(value, dict) else None


def elements(value: object) -> list[object]:
    """Return an array's elements; nothing for missing and null, the value itself for anything else."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def dig(value: object, *path: str) -> object:
    """Return the value at a path of field names, None when missing."""
    found = _dig(value, path)
    return None if found is MISSING else found


def _dig(value: object, path: tuple[str, ...]) -> object:
    if not path:
        return value
    fields = document(value)
    if fields is not None:
        return _dig(fields[path[0]], path[1:]) if path[0] in fields else MISSING
    if isinstance(value, list):
        found = [_dig(element, path) for element in value if document(element) is not None]
        return [inner for inner in found if inner is not MISSING]
    return MISSING


def id_key(value: object) -> str:
    """Return the text by which ids are compared: ObjectId as hex, 24 hex digits in lower case."""
    key = plain(value)
    return key.lower() if re.fullmatch("[0-9a-fA-F]{24}", key) else key
