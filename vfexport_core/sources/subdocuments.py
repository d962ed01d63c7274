"""Documents that stand in a field of many documents, taken apart side by side where they are made alike.

Whoever wrote them wrote the same names in the same order, some of them left out here and there. So the names of one of
them are looked for in all, one step for each name; a document that has others, or a value of a type that is not known
here, is left over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfexport_core.sources import bson_walk as bson_types
from vfexport_core.sources.documents import LENGTH_BYTES, Positions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vfexport_core.sources.bson_walk import Flags

_MOST_NAMES = 32
_MOST_PATTERNS = 24
"""From so many documents names are taken: from the first ones, and then from the first of those that are left over."""
_MOST_WALKS = 4

_FIXED_BYTES: Mapping[int, int] = {
    bson_types.OBJECT_ID: 12,
    bson_types.BOOLEAN: 1,
    bson_types.DATE: 8,
    bson_types.INT32: 4,
    bson_types.INT64: 8,
    bson_types.DOUBLE: 8,
    bson_types.DECIMAL128: 16,
    bson_types.NULL: 0,
}
_KNOWN = np.array([bson_types.STRING, *sorted(_FIXED_BYTES.keys() - {bson_types.NULL})])
_TYPES = 256
_WORD_BYTES = 8


@dataclass(frozen=True, slots=True)
class Subvalues:
    """The values of one name: of this BSON type in the documents where `present`, from `starts` to before `ends`.

    Elsewhere the places are those of no value, but they ascend all the same; where `null`, there is a null.
    """

    name: str
    type: int
    starts: Positions
    ends: Positions
    present: Flags
    null: Flags


@dataclass(frozen=True, slots=True)
class Alike:
    """What documents have in common, name by name; `nonconforming` are those (ascending) of which not all is in it."""

    values: list[Subvalues]
    nonconforming: Positions


class SubdocumentWalk:
    """Takes documents apart: they begin at `starts` (with their length) and their last bytes are at `last`."""

    def __init__(
        self, words: npt.NDArray[np.int64], octets: npt.NDArray[np.uint8], starts: Positions, last: Positions
    ) -> None:
        self._words, self._bytes = words, octets
        self._starts, self._last = starts, last

    def find(self) -> Alike | None:
        """Return what is alike in them; None where most are nonconforming."""
        names: list[bytes] = []
        best, left = None, list(range(min(_MOST_PATTERNS, len(self._starts))))
        for _ in range(_MOST_WALKS):
            # Those with the most names first: in them stands in which order those come that others lack.
            patterns = sorted(map(self._names_of, left), key=len, reverse=True)
            are_new = [_merge(names, pattern) for pattern in patterns]
            if not any(are_new) or len(names) > _MOST_NAMES:
                break
            alike = self._walk(names)
            if best is None or len(alike.nonconforming) < len(best.nonconforming):
                best = alike
            left = alike.nonconforming[:_MOST_PATTERNS].tolist()
            if self._are_most(alike.nonconforming):
                names = []  # the first ones may have an order of their own
        return None if best is None or self._are_most(best.nonconforming) else best

    def _are_most(self, documents: Positions) -> bool:
        return 2 * len(documents) > len(self._starts)

    def _names_of(self, document: int) -> list[bytes]:
        """Return the names in one document, in their order; none when it cannot be the pattern of others."""
        position, last = int(self._starts[document]) + LENGTH_BYTES, int(self._last[document])
        raw = self._bytes[position : last + 1].tobytes()
        names: list[bytes] = []
        at, end = 0, len(raw) - 1
        while at < end:
            behind_name = raw.find(0, at + 1)
            size = _size(raw, raw[at], behind_name + 1)
            if behind_name < 0 or size is None or len(names) == _MOST_NAMES:
                return []
            names.append(raw[at + 1 : behind_name])
            at = behind_name + 1 + size
        # Those of a reference ($ref, $id) are one value to bson.
        is_plain = len(set(names)) == len(names) and not any(b"$" in name or not _is_utf8(name) for name in names)
        return names if at == end and is_plain else []

    def _walk(self, names: list[bytes]) -> Alike:
        position = self._starts + LENGTH_BYTES
        nonconforming = np.zeros(len(position), dtype=np.bool_)
        found: list[Subvalues] = []
        for name in names:
            values, position, wrong = self._step(name, position)
            found.append(values)
            nonconforming |= wrong
        nonconforming |= (position != self._last) | (self._bytes[self._last] != 0)
        return Alike(found, np.flatnonzero(nonconforming))

    def _step(self, name: bytes, position: Positions) -> tuple[Subvalues, Positions, Flags]:
        """Walk over the elements of a name: its values, where the next elements are, which documents do not conform."""
        named = self._are_named(name, position) & (position < self._last)
        types = np.where(named, self._bytes[position], bson_types.ABSENT)
        null = types == bson_types.NULL
        kind = int(_KNOWN[np.argmax(np.bincount(types, minlength=_TYPES)[_KNOWN])])
        present = types == kind
        starts = position + len(name) + 2
        if kind == bson_types.STRING:
            length = self._words[np.where(present, starts, position)].astype(np.int32).astype(np.int64)
            ends = starts + LENGTH_BYTES + length
            wrong = present & (length < 1)
        else:
            ends = starts + _FIXED_BYTES[kind]
            wrong = np.zeros(len(position), dtype=np.bool_)
        wrong |= present & (ends > self._last)
        present &= ~wrong
        ends = np.where(present, ends, np.where(null, starts, position))
        starts = np.where(present, starts, position)
        # A value of another type is passed over by nobody: its document does not end where it should.
        return Subvalues(name.decode(), kind, starts, ends, present, null), ends, wrong

    def _are_named(self, name: bytes, position: Positions) -> Flags:
        """Return whether the elements that stand at these places have this name."""
        expected = name + b"\0"
        result = np.ones(len(position), dtype=np.bool_)
        for at in range(0, len(expected), _WORD_BYTES):
            piece = expected[at : at + _WORD_BYTES]
            # The end of what can be read is no element's place.
            places = np.minimum(position + 1 + at, len(self._words) - 1)
            mask = np.int64(-1) if len(piece) == _WORD_BYTES else np.int64((1 << 8 * len(piece)) - 1)
            wanted = np.frombuffer(piece.ljust(_WORD_BYTES, b"\0"), dtype="<i8")[0]
            result &= (self._words[places] & mask) == wanted
        return result


def _size(raw: bytes, type_: int, at: int) -> int | None:
    """Return how many bytes a value takes; None for a type that is not known here."""
    if type_ == bson_types.STRING:
        return LENGTH_BYTES + max(1, int.from_bytes(raw[at : at + LENGTH_BYTES], "little"))
    return _FIXED_BYTES.get(type_)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _merge(names: list[bytes], added: list[bytes]) -> bool:
    """Add the names that are new behind those that they stand behind; False when none is."""
    behind, is_new = 0, False
    for name in added:
        if name in names:
            behind = names.index(name) + 1
        else:
            names.insert(behind, name)
            behind, is_new = behind + 1, True
    return is_new
