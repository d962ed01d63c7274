"""What pymongoarrow's strict mode lets pass in silence, found in the BSON bytes.

Strict decoding raises for most values of another type than the schema's, but not for these (seen in 1.15.0):

- a double that is NaN becomes null in a column of any type;
- a boolean in a column of doubles becomes 1.0 or 0.0;
- an int64 of more than 53 bits in a column of doubles is rounded;
- a scalar or a document in a column of lists becomes an empty list.

Each probe passes over the bytes of a whole batch and gives the places that it suspects, in ascending order. It may
suspect a clean place (that costs time, never data), but never passes over one of these (but for the integers, which
are found in the decoded column).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LIST_TYPES = b"\x04\x0a"  # array, null

# The last byte of a NaN is 7f or ff, and the one before it is f0 or more.
_NAN_LAST_BUT_ONE = 0xF0
_SIGN_BIT = 0x80
_NAN_LAST = 0xFF
_DOUBLE_TAIL = 7
_LONGEST_NAME = 8


def nans(raw: bytes, names: Collection[str]) -> list[int]:
    """Find doubles that may be NaN, in a top-level field of one of these names or in an array."""
    data = np.frombuffer(raw, dtype=np.uint8)
    high = np.flatnonzero(data[:-1] >= _NAN_LAST_BUT_ONE)
    suspects = high[(data[high + 1] | _SIGN_BIT) == _NAN_LAST]
    if not len(suspects):
        return []
    double = re.compile(rb"\x01(?:" + _any_of(names) + rb"|\d+)\0\Z")
    starts = (suspects + 1 - _DOUBLE_TAIL).tolist()
    return [start for start in starts if double.search(raw[max(0, start - _LONGEST_NAME - 2) : start])]


def booleans(raw: bytes, names: Collection[str]) -> list[int]:
    """Find fields of these names that may hold a boolean."""
    if not names:
        return []
    # All names begin alike, so that the expression has a fixed beginning: it is found at the speed of a plain search.
    boolean = re.compile(rb"\x08(?:" + _any_of(names) + rb")\0")
    return [match.start() for match in boolean.finditer(raw)]


def non_lists(raw: bytes, names: Collection[str]) -> list[int]:
    """Find fields of these names that may hold something that is neither an array nor null."""
    return sorted(place for name in names for place in _types_of(raw, name) if raw[place] not in _LIST_TYPES)


def _types_of(raw: bytes, name: str) -> Iterator[int]:
    """Return the places of the bytes that say the type of a field; a text may look like one."""
    key = name.encode() + b"\0"
    position = raw.find(key, 1)
    while position > 0:
        yield position - 1
        position = raw.find(key, position + 1)


def _any_of(names: Collection[str]) -> bytes:
    return b"|".join(re.escape(name.encode()) for name in names)
