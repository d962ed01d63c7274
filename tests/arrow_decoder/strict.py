"""Strict decoding of flat documents to Arrow arrays, and what it lets pass although it should not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pymongoarrow.context import PyMongoArrowContext
from pymongoarrow.errors import InvalidBSON
from pymongoarrow.schema import Schema
from pymongoarrow.types import ObjectIdType

from tests.arrow_decoder.probes import booleans, nans, non_lists
from vfexport_core.catalog.collections import FieldType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EXACT_DOUBLE = 2.0**53


def arrow_type(type_: FieldType) -> Any:
    """Return the Arrow type of a column of this type; raises ValueError for one that is decoded value by value."""
    match type_:
        case FieldType.TEXT:
            return pa.string()
        case FieldType.DATE:
            return pa.timestamp("ms")
        case FieldType.NUMBER:
            return pa.float64()
        case FieldType.BOOLEAN:
            return pa.bool_()
        case FieldType.TEXT_LIST:
            return pa.list_(pa.string())
        case FieldType.OBJECT_ID:
            return ObjectIdType()
        case FieldType.ANY:
            raise ValueError("values of any type have no Arrow type")
        case _:
            assert_never(type_)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The columns of the first documents of a batch: by name, one value per document, of `arrow_type`.

    A null is a value that is missing or null.

    When decoding `stopped`, a document was not as the schema says: the one behind these, or the one behind that.
    """

    arrays: dict[str, pa.Array]
    stopped: bool

    @property
    def rows(self) -> int:
        return min(map(len, self.arrays.values()), default=0)


class StrictSchema:
    """The expected types of the fields of flat documents, by short name."""

    def __init__(self, types: Mapping[str, FieldType]) -> None:
        self.types = dict(types)
        self._schema = Schema({name: arrow_type(type_) for name, type_ in types.items()})
        self._numbers = [name for name, type_ in types.items() if type_ is FieldType.NUMBER]
        self._lists = [name for name, type_ in types.items() if type_ is FieldType.TEXT_LIST]

    def suspects(self, raw: bytes) -> list[int]:
        """Return the places of the values in `raw` that `read` may pass wrong in silence."""
        return sorted([*nans(raw, self.types), *booleans(raw, self._numbers), *non_lists(raw, self._lists)])

    def read(self, raw: bytes) -> Decoded:
        """Decode the concatenated documents of `raw`, up to the first one that is not as expected."""
        context = PyMongoArrowContext(self._schema, allow_invalid=False)
        stopped = False
        try:
            context.process_bson_stream(raw)
        except (TypeError, ValueError, OverflowError, InvalidBSON):
            stopped = True
        builders = context.manager.finish()
        arrays: dict[str, pa.Array] = {name: builders[name].finish() for name in self.types if name not in self._lists}
        for name in self._lists:
            arrays[name] = pa.ListArray.from_arrays(builders[name].finish(), builders[f"{name}[]"].finish())
        decoded = Decoded(arrays, stopped)
        return _before_the_stop(decoded, lists=bool(self._lists)) if stopped else decoded

    def wrong_rows(self, arrays: Mapping[str, pa.Array]) -> set[int]:
        """Return the rows that were decoded without an error but would be written wrong."""
        rows: set[int] = set()
        for name, type_ in self.types.items():
            if type_ in (FieldType.TEXT, FieldType.TEXT_LIST):
                rows.update(_invalid(arrays[name]))
            elif type_ is FieldType.NUMBER:
                rows.update(_inexact(arrays[name]))
        return rows


def _before_the_stop(decoded: Decoded, *, lists: bool) -> Decoded:
    """Leave only what belongs to documents that were decoded whole.

    Every column was filled up to the document that stopped it, and may have a value of that one as well; a column that
    refused a value has none. But a list refuses a value of its own only after it was begun: then no column may be left
    that shows where the others have to end, and one document less is taken.
    """
    rows = max(decoded.rows - lists, 0)
    return Decoded({name: array.slice(0, rows) for name, array in decoded.arrays.items()}, stopped=True)


def _invalid(array: pa.Array) -> Iterable[int]:
    """Return the rows whose bytes are not UTF-8."""
    if not isinstance(array, pa.ListArray):
        return _invalid_texts(array)
    # A slice of lists is validated with all the strings of the whole.
    parents = pc.list_parent_indices(array)
    return {parents[place].as_py() for place in _invalid_texts(array.flatten())}


def _invalid_texts(array: pa.Array) -> list[int]:
    """Halve a column of strings until those that are not UTF-8 are found."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        middle = len(array) // 2
        if not middle:
            return [0]
        behind = _invalid_texts(array.slice(middle))
        return [*_invalid_texts(array.slice(0, middle)), *(row + middle for row in behind)]
    return []


def _inexact(array: pa.Array) -> list[int]:
    """Return the rows whose doubles may be rounded integers."""
    values = np.asarray(array.fill_null(0.0))
    return np.flatnonzero((np.abs(values) >= EXACT_DOUBLE) & np.isfinite(values)).tolist()
