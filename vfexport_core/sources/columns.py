"""Elements of one BSON type to an Arrow array: no value passes that is not of this type, and none is changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from bson.errors import InvalidBSON

from vfexport_core.sources import bson_walk as bson_types
from vfexport_core.sources.arrow_functions import pc
from vfexport_core.sources.bson_walk import HEADER_BYTES, Flags, at_any_place
from vfexport_core.sources.documents import LENGTH_BYTES, Positions
from vfexport_core.sources.subdocuments import SubdocumentWalk, Subvalues

_OBJECT_ID_BYTES = 12
_DECIMAL_BYTES = 16
_CHARACTERS_AT = HEADER_BYTES + LENGTH_BYTES
_NOT_ASCII = 0x80
_LARGEST_BATCH = 2**31 - 1
# Lists of more elements are rare, and each element is a step for all lists of a batch.
_MOST_ELEMENTS = 64

Rows = npt.NDArray[np.int64]

_FIXED_WIDTH = {
    bson_types.DOUBLE: pa.float64(),
    bson_types.OBJECT_ID: pa.binary(_OBJECT_ID_BYTES),
    bson_types.DATE: pa.timestamp("ms"),
    bson_types.INT32: pa.int64(),
    bson_types.INT64: pa.int64(),
    bson_types.DECIMAL128: pa.binary(_DECIMAL_BYTES),
}
ARRAY_TYPES = frozenset({bson_types.STRING, bson_types.ARRAY, bson_types.BOOLEAN, bson_types.DOCUMENT, *_FIXED_WIDTH})
"""The BSON types whose values become an array; of arrays those of strings, of documents those that are made alike."""


def no_rows() -> Rows:
    """Return no rows at all."""
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class TypedArray:
    """An Arrow array with one value per element, and the rows (ascending) whose value it cannot hold.

    What stands in those rows means nothing.
    """

    array: pa.Array
    nonconforming: Rows = field(default_factory=no_rows)

    def conforming(self) -> pa.Array:
        """Return the array with nulls in the rows that are nonconforming, for those who read it as a whole."""
        if not len(self.nonconforming):
            return self.array
        left_out = np.zeros(len(self.array), dtype=np.bool_)
        left_out[self.nonconforming] = True
        return pc.if_else(pa.array(left_out), None, self.array)


class ArrayBuilder:
    """Makes arrays of the elements of one batch: `padded` are its documents with PADDING behind them."""

    def __init__(self, padded: bytes) -> None:
        """Raise InvalidBSON when a batch is larger than any message of a server, which offsets of strings rely on."""
        if len(padded) > _LARGEST_BATCH:
            raise InvalidBSON(f"a batch of {len(padded)} bytes is larger than a server's message can be")
        self._buffer = pa.py_buffer(padded)
        self._bytes = np.frombuffer(padded, dtype=np.uint8)
        self._words = at_any_place(padded, "<i8")
        self._object_ids = at_any_place(padded, f"V{_OBJECT_ID_BYTES}")
        self._decimals = at_any_place(padded, f"V{_DECIMAL_BYTES}")

    def build(self, type_: int, starts: Positions, ends: Positions, present: Flags | None) -> TypedArray:
        """Return the values of the elements from `starts` to `ends` where `present` (None: everywhere), null elsewhere.

        All elements that are present are of this BSON type, one of ARRAY_TYPES.
        """
        values = starts + HEADER_BYTES
        match type_:
            case bson_types.STRING:
                return self._strings(starts, ends, present)
            case bson_types.ARRAY:
                return self._string_lists(starts, ends, present)
            case bson_types.DOCUMENT:
                return self._documents(values, ends - 1, present)
            case bson_types.BOOLEAN:
                return self._booleans(values, present)
            case bson_types.INT32:
                data = self._words[values].astype(np.int32).astype(np.int64)
            case bson_types.OBJECT_ID:
                data = self._object_ids[values]
            case bson_types.DECIMAL128:
                data = self._decimals[values]
            case _:
                data = self._words[values]
        buffers = [_validity(present), pa.py_buffer(data)]
        return TypedArray(pa.Array.from_buffers(_FIXED_WIDTH[type_], len(data), buffers))

    def _booleans(self, values: Positions, present: Flags | None) -> TypedArray:
        octets = self._bytes[values]
        nonconforming = octets > 1
        if present is not None:
            nonconforming &= present
        buffers = [_validity(present), pa.py_buffer(np.packbits(octets != 0, bitorder="little"))]
        return TypedArray(pa.Array.from_buffers(pa.bool_(), len(values), buffers), np.flatnonzero(nonconforming))

    def _strings(self, starts: Positions, ends: Positions, present: Flags | None) -> TypedArray:
        first, behind = starts + _CHARACTERS_AT, ends - 1
        unended = self._bytes[behind] != 0
        if present is not None:
            first, behind = np.where(present, first, starts), np.where(present, behind, starts)
            unended &= present
        array = self._text(first, behind)
        nonconforming = _not_utf8(array)
        if unended.any():
            nonconforming = np.union1d(nonconforming, np.flatnonzero(unended))
        if present is not None:
            array = pa.Array.from_buffers(pa.string(), len(array), [_validity(present), *array.buffers()[1:]])
        return TypedArray(array, nonconforming)

    def _text(self, first: Positions, behind: Positions) -> pa.StringArray:
        """Return the texts from `first` to before `behind`, UTF-8 or not.

        The places have to be checked before: they ascend, no text reaches into the next, and all are in the batch.
        """
        count = len(first)
        if not count:
            return pa.array([], pa.string())
        bounds = np.empty(2 * count, dtype=np.int32)
        bounds[0::2], bounds[1::2] = first, behind
        # To Arrow the batch is a column of strings already: texts, and by turns with them what stands between two.
        alternating = pa.Array.from_buffers(pa.string(), 2 * count - 1, [None, pa.py_buffer(bounds), self._buffer])
        return alternating.take(_every_other(count))

    def _string_lists(self, starts: Positions, ends: Positions, present: Flags | None) -> TypedArray:
        rows = np.arange(len(starts)) if present is None else np.flatnonzero(present)
        found = _ListWalk(self._words, self._bytes, rows, starts[rows] + _CHARACTERS_AT, ends[rows] - 1)
        first, behind, owners = found.texts()
        texts = self._text(first, behind)
        nonconforming = np.union1d(found.nonconforming, owners[_not_utf8(texts)])
        if len(nonconforming):
            kept = ~np.isin(owners, nonconforming)
            texts, owners = texts.filter(pa.array(kept)), owners[kept]
        offsets = np.zeros(len(starts) + 1, dtype=np.int32)
        np.cumsum(np.bincount(owners, minlength=len(starts)), out=offsets[1:])
        type_ = pa.list_(pa.string())
        buffers = [_validity(present), pa.py_buffer(offsets)]
        return TypedArray(pa.Array.from_buffers(type_, len(starts), buffers, children=[texts]), nonconforming)

    def _documents(self, values: Positions, last: Positions, present: Flags | None) -> TypedArray:
        """Return structs of what the documents have in common; see `Part`."""
        rows = np.arange(len(values)) if present is None else np.flatnonzero(present)
        alike = SubdocumentWalk(self._words, self._bytes, values[rows], last[rows]).find() if len(rows) else None
        if alike is None:
            return TypedArray(pa.nulls(len(values)), rows)
        members = [
            self.build(item.type, item.starts - HEADER_BYTES, item.ends, None if item.present.all() else item.present)
            for item in alike.values
        ]
        arrays = [_with_nulls(one.conforming(), item) for one, item in zip(members, alike.values, strict=True)]
        structs = pa.StructArray.from_arrays(arrays, [item.name for item in alike.values])
        nonconforming = np.unique(np.concatenate([alike.nonconforming, *(one.nonconforming for one in members)]))
        if present is not None:
            structs = structs.take(pa.array(np.cumsum(present) - 1, mask=~present))
        return TypedArray(structs, rows[nonconforming])


def _with_nulls(array: pa.Array, values: Subvalues) -> pa.Array:
    """Tell nulls from names that are not there: each value becomes a struct of itself, null where there is no name."""
    if not values.null.any():
        return array
    is_missing = pa.array(~(values.present | values.null))
    return pa.StructArray.from_arrays([array], ["value"], mask=is_missing)


class _ListWalk:
    """Walks lists of strings side by side, one step for all first elements, one for all second ones and so on.

    `rows` says whose lists they are, `position` where their first elements begin and `last` where their last bytes are.
    Lists of anything else, or of more than `_MOST_ELEMENTS`, are `nonconforming` (rows).
    """

    def __init__(
        self,
        words: npt.NDArray[np.int64],
        octets: npt.NDArray[np.uint8],
        rows: Rows,
        position: Positions,
        last: Positions,
    ) -> None:
        self._words, self._bytes = words, octets
        self._found: list[tuple[Positions, Positions, Rows]] = []
        nonconforming: list[Rows] = [rows[octets[last] != 0]]
        for index in range(_MOST_ELEMENTS):
            going_on = position < last
            rows, position, last = rows[going_on], position[going_on], last[going_on]
            if not len(rows):
                break
            is_text, first, behind = self._step(index, position, last)
            nonconforming.append(rows[~is_text])
            rows, position, last = rows[is_text], behind[is_text] + 1, last[is_text]
            self._found.append((first[is_text], behind[is_text], rows))
        nonconforming.append(rows[position < last])
        self.nonconforming = np.unique(np.concatenate(nonconforming))

    def _step(self, index: int, position: Positions, last: Positions) -> tuple[Flags, Positions, Positions]:
        """Return which of the elements are strings, and from where to where their characters stand."""
        header = bytes([bson_types.STRING]) + str(index).encode() + b"\0"
        behind_header = position + len(header)
        matches = self._words[position] & ((1 << 8 * len(header)) - 1) == int.from_bytes(header, "little")
        length = self._words[behind_header].astype(np.int32).astype(np.int64)
        first = behind_header + LENGTH_BYTES
        behind = first + length - 1
        is_text = matches & (length > 0) & (behind < last)
        is_text &= self._bytes[np.where(is_text, behind, last)] == 0
        return is_text, first, behind

    def texts(self) -> tuple[Positions, Positions, Rows]:
        """Return from where to where the characters of all elements stand, list by list, and the rows of the lists."""
        if not self._found:
            return no_rows(), no_rows(), no_rows()
        first, behind, rows = (np.concatenate(parts) for parts in zip(*self._found, strict=True))
        order = np.argsort(first)
        return first[order], behind[order], rows[order]


def _validity(present: Flags | None) -> pa.Buffer | None:
    return None if present is None else pa.py_buffer(np.packbits(present, bitorder="little"))


@lru_cache(maxsize=16)
def _every_other(count: int) -> pa.Int64Array:
    return pa.array(np.arange(0, 2 * count, 2, dtype=np.int64))


def _not_utf8(texts: pa.StringArray) -> Rows:
    """Return the rows of the texts (without nulls) whose bytes are not UTF-8, in their order."""
    _, offsets, data = texts.buffers()
    octets = np.frombuffer(data or b"", dtype=np.uint8)
    if not len(octets) or octets.max() < _NOT_ASCII or _is_valid(texts):
        return no_rows()
    bounds = np.frombuffer(offsets, dtype=np.int32, count=len(texts) + 1)
    suspects = np.unique(np.searchsorted(bounds, np.flatnonzero(octets >= _NOT_ASCII), side="right") - 1)
    raw = octets.tobytes()
    return np.array(
        [row for row in suspects.tolist() if not _is_utf8(raw[bounds[row] : bounds[row + 1]])], dtype=np.int64
    )


def _is_valid(texts: pa.StringArray) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
