"""BSON batches to Arrow columns: whole columns at once, and the values that are nonconforming one by one.

The documents are flat: the server renames each needed path to a top-level name of two letters. The elements of a field
are found in all documents of a batch (bson_walk), those of one BSON type become one array (columns), whatever type the
field usually has, and the values that no array can hold are decoded by bson (singles).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from vfexport_core.catalog.collections import Field, FieldType
from vfexport_core.sources import bson_walk as bson_types
from vfexport_core.sources.batch import Batch, ColumnValues
from vfexport_core.sources.bson_walk import ABSENT, PADDING, Elements, walk
from vfexport_core.sources.columns import ARRAY_TYPES, ArrayBuilder, Rows, no_rows
from vfexport_core.sources.documents import document_bounds
from vfexport_core.sources.projection import RESUME_NAME, short_names
from vfexport_core.sources.singles import decode_documents, decode_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

# An array for fewer values than these costs more than to decode them one by one.
_FEWEST_TOGETHER = 32


def usual_type(type_: FieldType) -> int:
    """Return the BSON type that the values of such a field mostly have."""
    match type_:
        case FieldType.TEXT:
            return bson_types.STRING
        case FieldType.DATE:
            return bson_types.DATE
        case FieldType.NUMBER:
            return bson_types.DOUBLE
        case FieldType.BOOLEAN:
            return bson_types.BOOLEAN
        case FieldType.OBJECT_ID:
            return bson_types.OBJECT_ID
        case FieldType.TEXT_LIST | FieldType.ANY:
            return bson_types.ARRAY
        case _:
            assert_never(type_)


class Decoder:
    """Decodes batches of flat documents with one short name per field.

    What a batch becomes depends on that batch alone.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.names = short_names(self.fields)
        self._usual = [usual_type(item.type) for item in self.fields]

    def decode(self, raw: bytes) -> Batch:
        """Decode the concatenated documents of `raw`: no value is lost, whatever its type. Raises InvalidBSON."""
        if not raw:
            return Batch.empty(self.fields)
        padded = b"".join((raw, PADDING))
        bounds = document_bounds(raw)
        elements = walk(padded, bounds, tuple(self.names.values()), self._usual, RESUME_NAME)
        reader = _ColumnReader(padded, elements)
        drafts = [reader.draft(index, item.type) for index, item in enumerate(self.fields)]
        values = reader.nonconforming_values(drafts)
        strays = decode_documents(padded, bounds, elements.strays)
        columns = {
            item: [draft.column(own, elements.strays, [document.get(name) for document in strays])]
            for (item, name), draft, own in zip(self.names.items(), drafts, values, strict=True)
        }
        return Batch(len(bounds) - 1, columns, _slow_documents(drafts, elements.strays), len(raw))


@dataclass(frozen=True, slots=True)
class _Draft:
    """A column without its nonconforming values: those that are in no array.

    `arrays` and `places` are those of ColumnValues; `nonconforming` are the documents with such values, in order.
    """

    type: FieldType
    size: int
    arrays: tuple[pa.Array, ...]
    places: Rows | None
    nonconforming: Rows

    def column(self, values: list[Any], strays: Rows, stray_values: list[Any]) -> ColumnValues:
        """Add the nonconforming values, and those of the documents that were decoded whole."""
        values, rows = values + stray_values, np.concatenate([self.nonconforming, strays])
        if self.type is FieldType.ANY:
            by_document = dict(zip(rows.tolist(), values, strict=True))
            return ColumnValues(([by_document.get(row) for row in range(self.size)],))
        if not len(rows):
            return ColumnValues(self.arrays, self.places)
        places = np.arange(self.size) if self.places is None else self.places.copy()
        places[rows] = sum(map(len, self.arrays)) + np.arange(len(rows))
        return ColumnValues((*self.arrays, values), places)


class _ColumnReader:
    """Reads the columns of one batch."""

    def __init__(self, padded: bytes, elements: Elements) -> None:
        self._padded = padded
        self._elements = elements
        self._builder = ArrayBuilder(padded)

    def draft(self, index: int, type_: FieldType) -> _Draft:
        """Read what of the index-th field's values can be read together."""
        only = int(self._elements.only[index])
        if only != ABSENT and _has_array(type_, only):
            return self._of_one_type(index, type_, only)
        return self._of_several_types(index, type_)

    def _of_one_type(self, index: int, type_: FieldType, kind: int) -> _Draft:
        elements = self._elements
        present = None if elements.complete[index] else elements.types[index] == kind
        typed = self._builder.build(kind, elements.places[index], elements.places[index + 1], present)
        return _Draft(type_, len(elements.types[index]), (typed.array,), None, typed.nonconforming)

    def _of_several_types(self, index: int, type_: FieldType) -> _Draft:
        elements = self._elements
        types, starts, ends = elements.types[index], elements.places[index], elements.places[index + 1]
        places = np.full(len(types), -1, dtype=np.int64)
        arrays: list[pa.Array] = []
        nonconforming = [no_rows()]
        size = 0
        for kind in (np.flatnonzero(np.bincount(types)[1:]) + 1).tolist():
            rows = np.flatnonzero(types == kind)
            if not _read_together(type_, kind, len(rows)):
                nonconforming.append(rows)
                continue
            typed = self._builder.build(kind, starts[rows], ends[rows], None)
            arrays.append(typed.array)
            places[rows] = size + np.arange(len(rows))
            size += len(rows)
            nonconforming.append(rows[typed.nonconforming])
        return _Draft(type_, len(types), tuple(arrays), places, np.sort(np.concatenate(nonconforming)))

    def nonconforming_values(self, drafts: list[_Draft]) -> list[list[Any]]:
        """Return the nonconforming values of each draft; raises InvalidBSON."""
        if not any(len(draft.nonconforming) for draft in drafts):
            return [[] for _ in drafts]
        places = self._elements.places
        starts = np.concatenate([places[index][draft.nonconforming] for index, draft in enumerate(drafts)])
        ends = np.concatenate([places[index + 1][draft.nonconforming] for index, draft in enumerate(drafts)])
        values = iter(decode_elements(self._padded, starts, ends))
        return [list(islice(values, len(draft.nonconforming))) for draft in drafts]


def _has_array(type_: FieldType, kind: int) -> bool:
    """Return whether values of this BSON type, in a field of that type, become an array."""
    match type_:
        case FieldType.ANY:
            return False
        case FieldType.TEXT_LIST:
            return kind == bson_types.ARRAY
        case FieldType.TEXT | FieldType.DATE | FieldType.NUMBER | FieldType.BOOLEAN | FieldType.OBJECT_ID:
            return kind in ARRAY_TYPES
        case _:
            assert_never(type_)


def _read_together(type_: FieldType, kind: int, count: int) -> bool:
    """Return whether so many values of one BSON type among others become an array."""
    return _has_array(type_, kind) and (count >= _FEWEST_TOGETHER or kind == usual_type(type_))


def _slow_documents(drafts: list[_Draft], strays: Rows) -> int:
    """Count the documents with a nonconforming value; a field of type ANY has no other."""
    return len(
        np.unique(
            np.concatenate([strays, *(draft.nonconforming for draft in drafts if draft.type is not FieldType.ANY)])
        )
    )
