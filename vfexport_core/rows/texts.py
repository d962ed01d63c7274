"""The bytes below a column of strings, seen by numpy: which few of many strings deserve a closer look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vfexport_core.sources.arrow_functions import pc

if TYPE_CHECKING:
    from collections.abc import Callable

_BYTES = 256
_PLUS = ord("+")
_DIGITS = b"0123456789"
_IN_NUMBERS = _DIGITS + b" ().-"
_SHORTEST_NUMBER = 2
# So that a column of nothing but such characters takes little more memory than its text.
_AT_ONCE = 2**20


def text_bytes(text: pa.Array) -> bytes:
    """Return the bytes of all strings of an Arrow string array, one behind the other."""
    bounds, data = _bounds_and_data(text)
    return b"" if data is None else data[int(bounds[0]) : int(bounds[-1])].to_pybytes()


def contains_byte(text: pa.Array, byte: bytes) -> bool:
    """Return whether any of the strings holds this byte; one pass over the bytes of all."""
    return byte in text_bytes(text)


def without_nul(text: pa.Array) -> pa.Array:
    """Return the strings without U+0000."""
    return pc.replace_substring(text, "\0", "") if contains_byte(text, b"\0") else text


def rows_beginning_with(text: pa.Array, characters: bytes) -> npt.NDArray[np.int64]:
    """Return the rows of the strings that begin with one of these ASCII characters, in their order."""
    bounds, data = _bounds_and_data(text)
    if data is None:
        return np.empty(0, dtype=np.int64)
    octets = np.frombuffer(data, dtype=np.uint8)
    if not len(octets):
        return np.empty(0, dtype=np.int64)
    # An empty string seems to begin as the next one does, and the last one, behind which nothing stands, as its end.
    rows = np.flatnonzero(_table(characters)[octets[np.minimum(bounds[:-1], len(octets) - 1)]])
    return _valid(text, rows[bounds[1:][rows] > bounds[:-1][rows]])


def rows_holding(text: pa.Array, characters: bytes) -> npt.NDArray[np.int64]:
    """Return the rows of the strings that hold one of these ASCII characters anywhere, in their order."""
    data = text_bytes(text)
    # Most columns hold none, which a plain search tells at once.
    if not any(character in data for character in characters):
        return np.empty(0, dtype=np.int64)
    bounds, _ = _bounds_and_data(text)
    found = np.zeros(len(text), dtype=np.bool_)
    for start in range(0, len(data), _AT_ONCE):
        piece = np.frombuffer(data, dtype=np.uint8)[start : start + _AT_ONCE]
        places = np.flatnonzero(_table(characters)[piece]) + start
        found[np.searchsorted(bounds - bounds[0], places, side="right") - 1] = True
    return _valid(text, np.flatnonzero(found))


def are_phone_numbers(text: pa.Array) -> bool:
    """Return whether all strings (none null) are a plus, a digit, then nothing but digits, blanks and ``().-``.

    This is how most numbers are stored, and one pass over the bytes of all is enough to see it.
    """
    bounds, data = _bounds_and_data(text)
    if data is None or np.diff(bounds).min() < _SHORTEST_NUMBER:
        return False
    octets = np.frombuffer(data, dtype=np.uint8)
    starts = bounds[:-1]
    if not ((octets[starts] == _PLUS) & _table(_DIGITS)[octets[starts + 1]]).all():
        return False
    # There is no plus among these characters, so that the first ones are all that is left.
    others = np.count_nonzero(_table(_IN_NUMBERS)[octets[bounds[0] : bounds[-1]]])
    return int(bounds[-1] - bounds[0]) - others == len(text)


def rewrite(text: pa.Array, rows: npt.NDArray[np.int64], change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Write the strings of these rows (ascending) as `change` gives them, and leave all others as they are.

    `change` gives back what it was given, the same array, where nothing is to be changed.
    """
    if not len(rows):
        return text
    before = text.take(pa.array(rows))
    changed = change(before)
    if changed is before:
        return text
    mask = np.zeros(len(text), dtype=np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(text, pa.array(mask), changed)


def _bounds_and_data(text: pa.Array) -> tuple[npt.NDArray[np.int32], pa.Buffer | None]:
    """Return where the strings begin, and the last one ends, in the buffer of their bytes; None when there are none."""
    _, offsets, data = text.buffers()
    if data is None or not len(text):
        return np.zeros(1, dtype=np.int32), None
    return np.frombuffer(offsets, dtype=np.int32, count=len(text) + 1, offset=text.offset * 4), data


def _table(characters: bytes) -> npt.NDArray[np.bool_]:
    table = np.zeros(_BYTES, dtype=np.bool_)
    table[np.frombuffer(characters, dtype=np.uint8)] = True
    return table


def _valid(text: pa.Array, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Leave out nulls: what bytes stand below them means nothing."""
    return rows[np.asarray(text.is_valid())[rows]] if text.null_count else rows
