"""From fields to MongoDB expressions: the flat ``$project`` that makes decoding fast.

User-supplied names (preference ids) may hold dots, dollars or anything else; such a name never becomes part of a path
string: it is handed to the server as a literal.
"""

from __future__ import annotations

import re
from string import ascii_lowercase, ascii_uppercase, digits
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vfexport_core.catalog.collections import Field

RESUME_NAME = "zz"
"""The name under which every flat document of a scan carries its place in the order of the scan; the last one."""

_LETTERS = ascii_uppercase + ascii_lowercase
_LETTERS_AND_DIGITS = digits + _LETTERS
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def short_names(fields: Iterable[Field]) -> dict[Field, str]:
    """Return the name of each field in flat documents: the same for the same fields in the same order.

    The names are of two letters and ascend, so that a server which sorts them keeps their order. Those behind the first
    3,223 are longer, and documents that have them are decoded one by one.
    """
    return {field: _short_name(index) for index, field in enumerate(fields)}


def _short_name(index: int) -> str:
    first, second = divmod(index, len(_LETTERS_AND_DIGITS))
    name = _LETTERS[first] + _LETTERS_AND_DIGITS[second] if first < len(_LETTERS) else RESUME_NAME
    return name if name < RESUME_NAME else f"{RESUME_NAME}{index}"


def flat_projection(names: Mapping[Field, str], **extra: Any) -> dict[str, Any]:
    """Make the ``$project`` that gives each field under its short name, and `extra` names as they are."""
    return {"_id": 0, **{name: field_expression(field) for field, name in names.items()}, **extra}


def field_expression(field: Field) -> Any:
    """Return the aggregation expression of a field's value; missing where the document has none."""
    path = field.path
    plain = 0
    while plain < len(path) and _PLAIN_NAME.fullmatch(path[plain]):
        plain += 1
    expression: Any = "$" + ".".join(path[:plain]) if plain else "$$ROOT"
    for name in path[plain:]:
        expression = _literal_member(expression, name)
    return expression


def _literal_member(parent: Any, name: str) -> Any:
    if not _can_be_a_key(name):
        return {"$literal": None}
    member = {"$getField": {"field": {"$literal": name}, "input": parent}}
    # $getField fails the whole scan on a parent that is no document; here the field is simply missing.
    return {"$cond": [{"$eq": [{"$type": parent}, "object"]}, member, None]}


def _can_be_a_key(name: str) -> bool:
    """Return whether a BSON document can have a key of this name at all."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name
