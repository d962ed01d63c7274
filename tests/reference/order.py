"""The order of BSON values (MongoDB's comparison order), as a key for ``sorted``: rows come by ``_id`` ascending."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from bson import DatetimeMS, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import Binary
from bson.code import Code

from tests.reference.values import document, millis


def order_key(value: object) -> tuple[int, object]:  # noqa: PLR0911 one return per type
    """Return (rank of the type, something comparable within that rank)."""
    if value is None:
        return 5, 0
    if isinstance(value, bool):
        return 40, value
    if isinstance(value, int | float | Decimal128):
        return 10, _number_key(value)
    if isinstance(value, Code):
        return (60, str(value)) if value.scope is None else (65, (str(value), order_key(dict(value.scope))))
    if isinstance(value, str):
        return 15, value.encode("utf-8", "surrogateescape")
    fields = document(value)
    if fields is not None:
        pairs = ((name, order_key(inner)) for name, inner in fields.items())
        return 20, tuple((key[0], name.encode("utf-8", "surrogateescape"), key[1]) for name, key in pairs)
    if isinstance(value, list):
        return 25, tuple(order_key(element) for element in value)
    return _scalar_key(value)


def _scalar_key(value: object) -> tuple[int, object]:  # noqa: PLR0911 one return per type
    if isinstance(value, MinKey):
        return -1, 0
    if isinstance(value, bytes):
        return 30, (len(value), value.subtype if isinstance(value, Binary) else 0, bytes(value))
    if isinstance(value, ObjectId):
        return 35, value.binary
    if isinstance(value, DatetimeMS | datetime):
        return 45, millis(value)
    if isinstance(value, Timestamp):
        return 47, (value.time, value.inc)
    if isinstance(value, Regex):
        return 50, (value.pattern, value.flags)
    if isinstance(value, MaxKey):
        return 127, 0
    raise TypeError(f"no order for {type(value)}")


def _number_key(value: float | Decimal128) -> tuple[int, Fraction | int]:
    """NaN before everything, then by value whatever the type: 5 == 5.0 == Decimal128("5")."""
    number: float | Decimal = value.to_decimal() if isinstance(value, Decimal128) else value
    if isinstance(number, Decimal):
        if number.is_nan():
            return 0, 0
        if number.is_infinite():
            return (3, 0) if number > 0 else (1, 0)
    elif isinstance(number, float) and not math.isfinite(number):
        return (0, 0) if math.isnan(number) else (3, 0) if number > 0 else (1, 0)
    return 2, Fraction(number)
