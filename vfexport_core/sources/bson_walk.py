"""Where the elements of flat documents stand: all documents of a batch are walked side by side.

This is the one place that knows how BSON is laid out, and the seam for a compiled kernel: `walk` takes bytes and names
and gives tables of numbers, which a loop over one document after the other could fill as well.

The names are of two letters, and the server writes a document's elements in the order of the ``$project``. So the eight
bytes from the place that a document was walked to are the element's type and name and the length of its value, and one
step for each field passes over all documents. Nothing is believed that was not checked: a document that the walk does
not understand to its end is a stray, and is left to be decoded by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vfexport_core.sources.documents import LENGTH_BYTES, Positions

if TYPE_CHECKING:
    from collections.abc import Sequence

Flags = npt.NDArray[np.bool_]

DOUBLE, STRING, DOCUMENT, ARRAY, UNDEFINED, OBJECT_ID = 0x01, 0x02, 0x03, 0x04, 0x06, 0x07
BOOLEAN, DATE, NULL, INT32, INT64, DECIMAL128 = 0x08, 0x09, 0x0A, 0x10, 0x12, 0x13
ABSENT = 0x00
"""Stands for the type of a value that is missing or null."""

NAME_LETTERS = 2
HEADER_BYTES = 1 + NAME_LETTERS + 1
"""An element's type, its name and the name's end; its value stands behind."""
PADDING = bytes(16)
"""What has to stand behind the documents, so that a word at any place in them can be read."""

_FIXED_BYTES = {
    DOUBLE: 8, UNDEFINED: 0, OBJECT_ID: 12, BOOLEAN: 1, DATE: 8, NULL: 0, INT32: 4, 0x11: 8, INT64: 8, DECIMAL128: 16,
    0xFF: 0, 0x7F: 0,
}  # fmt: skip
# Of other values the bytes beside those that the length at their beginning counts, and the least that it can be.
_LENGTH_FIRST = {
    STRING: (4, 1), DOCUMENT: (0, 5), ARRAY: (0, 5), 0x05: (5, 0), 0x0C: (16, 1), 0x0D: (4, 1), 0x0E: (4, 1),
    0x0F: (0, 14),
}  # fmt: skip
_BEYOND = 2**40  # no type that is known: further than any document reaches
_TYPES = 256
_LENGTH_AT = 32  # bits
_NO_LEAST = -(2**31)


def _tables() -> tuple[Positions, Flags, Positions]:
    """Return, per type, the bytes of an element without those that its length counts, if it has one, and its least."""
    step = np.full(_TYPES, _BEYOND, dtype=np.int64)
    has_length = np.zeros(_TYPES, dtype=np.bool_)
    least = np.full(_TYPES, _NO_LEAST, dtype=np.int64)
    step[ABSENT] = 0
    for type_, size in _FIXED_BYTES.items():
        step[type_] = HEADER_BYTES + size
    for type_, (beside, smallest) in _LENGTH_FIRST.items():
        step[type_], has_length[type_], least[type_] = HEADER_BYTES + beside, True, smallest
    return step, has_length, least


_STEP, _HAS_LENGTH, _LEAST = _tables()


@dataclass(frozen=True, slots=True)
class Elements:
    """Where the values of n documents stand, in tables of one row per field and one column per document.

    `types` (uint8) are BSON types, ABSENT for a value that is missing or null. The element of the f-th field stands
    from `places[f]` to before `places[f + 1]` (int64); of one that is missing both are the same place. Along a row,
    places ascend.

    `only` (uint8, one per field) is the type of all values of a field that are there, ABSENT where they may be of
    several types; `complete` (bool, one per field) says that none is ABSENT.

    `strays` (int64) are the documents that were not understood, in their order; all their types are ABSENT.
    """

    types: npt.NDArray[np.uint8]
    places: list[Positions]
    only: npt.NDArray[np.uint8]
    complete: Flags
    strays: Positions


def walk(padded: bytes, bounds: Positions, names: Sequence[str], usual: Sequence[int], last_name: str) -> Elements:
    """Find the elements of these `names` (of NAME_LETTERS each; others are not found) in the order of the names.

    `padded` are concatenated documents and PADDING, `bounds` where they begin and the last one ends. `usual` are the
    types that the fields mostly have, which are found sooner. An element of the `last_name` may follow them all.
    """
    walker = _Walker(padded, bounds)
    types = np.empty((len(names), len(bounds) - 1), dtype=np.uint8)
    only, complete = np.zeros(len(names), dtype=np.uint8), np.zeros(len(names), dtype=np.bool_)
    places = [walker.position]
    for field, (name, type_) in enumerate(zip(names, usual, strict=True)):
        only[field], complete[field] = walker.step(name, type_, types[field])
        places.append(walker.position)
    walker.step(last_name, ABSENT, np.empty(len(bounds) - 1, dtype=np.uint8))
    strays = walker.strays()
    if len(strays):
        types[:, strays] = ABSENT
        complete[:] = False
    return Elements(types, places, only, complete, strays)


class _Walker:
    """`position` (int64) is the place in each document that it was walked to, at most that of its last byte."""

    def __init__(self, padded: bytes, bounds: Positions) -> None:
        self.position = bounds[:-1] + LENGTH_BYTES
        self._last = bounds[1:] - 1
        self._bytes = np.frombuffer(padded, dtype=np.uint8)
        self._words = at_any_place(padded, "<i8")
        self._strayed = np.zeros(len(self._last), dtype=np.bool_)

    def step(self, name: str, usual: int, types: npt.NDArray[np.uint8]) -> tuple[int, bool]:
        """Walk over the elements of this name and write their types to `types`.

        Returns the type of all that are there (ABSENT: they are of several, or none is there), and whether all are.
        """
        header = b"\0" + name.encode() + b"\0"
        if len(header) != HEADER_BYTES:
            types[:] = ABSENT
            return ABSENT, False
        words = self._words[self.position]
        # Where the name is this one, nothing is left of the header but the type.
        named = words.astype(np.uint32) ^ np.uint32(int.from_bytes(header, "little"))
        is_usual = named == usual
        count = int(np.count_nonzero(is_usual))
        if count and count == np.count_nonzero(named < _TYPES) and self._pass_usual(words, is_usual, usual):
            np.multiply(is_usual, np.uint8(usual), out=types)
            return usual, count == len(types)
        types[:] = np.where(named < _TYPES, named, ABSENT)
        self._pass(words, types)
        return ABSENT, False

    def _pass_usual(self, words: npt.NDArray[np.int64], is_usual: Flags, type_: int) -> bool:
        """Pass over elements all of one type, unless one of them cannot be."""
        if _HAS_LENGTH[type_]:
            length = words >> _LENGTH_AT
            if ((length < _LEAST[type_]) & is_usual).any():
                return False
            position = self.position + (length + _STEP[type_]) * is_usual
        else:
            position = self.position + _STEP[type_] * is_usual
        if (position > self._last).any():
            return False
        self.position = position
        return True

    def _pass(self, words: npt.NDArray[np.int64], types: npt.NDArray[np.uint8]) -> None:
        """Pass over elements of any types; those that cannot be end the walk of their documents."""
        length = words >> _LENGTH_AT
        position = self.position + _STEP[types]
        position += length * _HAS_LENGTH[types]
        wrong = (position > self._last) | (length < _LEAST[types])
        if wrong.any():
            position[wrong] = self._last[wrong]
            types[wrong] = ABSENT
            self._strayed |= wrong
        types[(types == NULL) | (types == UNDEFINED)] = ABSENT
        self.position = position

    def strays(self) -> Positions:
        """Return the documents that were not walked to their end, in their order."""
        return np.flatnonzero(self._strayed | (self.position != self._last) | (self._bytes[self._last] != 0))


def at_any_place(padded: bytes, dtype: str) -> npt.NDArray[Any]:
    """Return a view whose item at each index is what stands from that byte on."""
    size = np.dtype(dtype).itemsize
    return np.ndarray((len(padded) - size + 1,), dtype, padded, strides=(1,))
