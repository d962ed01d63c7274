"""What pymongoarrow's strict mode lets pass in silence, found in the BSON bytes.

Strict decoding raises for most values of another type than the schema's, but not for these (seen in 1.15.0):

- a double that is NaN becomes null in a column of any type;
- a boolean in a column of doubles becomes 1.0 or 0.0;
- an int64 of more than 53 bits in a column of doubles is rounded;
- a scalar or a document in a column of lists becomes an empty list.

Each probe may call a clean batch dirty (that costs time, never data), but never a dirty one clean.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

_BSON_BOOLEAN = b"\x08"
_LIST_TYPES = frozenset(b"\x04\x0a")  # array, null

# The last byte of a NaN is 7f or ff, and the one before it is f0 or more.
_NAN_LAST_BUT_ONE = 0xF0
_SIGN_BIT = 0x80
_NAN_LAST = 0xFF
_DOUBLE_TAIL = 7
_LONGEST_NAME = 8


def holds_nan(raw: bytes, names: Iterable[str]) -> bool:
    """Tell whether a top-level field of one of these names may hold NaN, or an array element may."""
    data = np.frombuffer(raw, dtype=np.uint8)
    high = np.flatnonzero(data[:-1] >= _NAN_LAST_BUT_ONE)
    if not len(high):
        return False
    suspects = high[(data[high + 1] | _SIGN_BIT) == _NAN_LAST]
    if not len(suspects):
        return False
    keys = b"|".join([*(re.escape(name.encode()) for name in names), rb"\d+"])
    double = re.compile(rb"\x01(?:" + keys + rb")\0\Z")
    for position in suspects.tolist():
        start = position + 1 - _DOUBLE_TAIL
        if double.search(raw[max(0, start - _LONGEST_NAME - 2) : start]):
            return True
    return False


def holds_boolean(raw: bytes, name: str) -> bool:
    """Tell whether a field of this name may hold a boolean."""
    return _BSON_BOOLEAN + name.encode() + b"\0" in raw


def holds_non_list(raw: bytes, name: str) -> bool:
    """Tell whether a field of this name may hold something that is neither an array nor null."""
    key = name.encode() + b"\0"
    position = raw.find(key)
    while position > 0:
        if raw[position - 1] not in _LIST_TYPES:
            return True
        position = raw.find(key, position + 1)
    return False
