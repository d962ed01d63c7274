"""BSON batches to Arrow columns: fast where the data is as expected, sound where it is not.

The documents are flat: the server renames each needed path to a short top-level name, because decoding nested documents
costs ten times as much. A batch is first decoded strictly against a schema; when a value has another BSON type, the
same bytes are cut into pieces, and only the pieces that hold an offender are decoded value by value. A field that is of
another type all the time teaches the decoder, which then expects that type.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import bson
import numpy as np
import pyarrow as pa
from bson.raw_bson import RawBSONDocument
from pymongoarrow.context import PyMongoArrowContext
from pymongoarrow.errors import InvalidBSON
from pymongoarrow.schema import Schema
from pymongoarrow.types import ObjectIdType

from vfexport_core.catalog.expressions import Field, Kind
from vfexport_core.sources.batch import Batch, Chunk
from vfexport_core.sources.client import SOUND_CODEC
from vfexport_core.sources.probes import booleans, nans, non_lists

if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE_DOCUMENTS = 128
_LEARN_FROM_SHARE = 0.25  # of a batch's documents on the slow path
_LEARN_WHEN_SHARE = 0.75  # of a field's values of one other type
_EXACT_DOUBLE = 2.0**53

_RAW_CODEC = SOUND_CODEC.with_options(document_class=RawBSONDocument)

_ARROW_TYPES: dict[Kind, Any] = {
    Kind.TEXT: pa.string(),
    Kind.DATE: pa.timestamp("ms"),
    Kind.NUMBER: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TEXT_LIST: pa.list_(pa.string()),
    Kind.OBJECT_ID: ObjectIdType(),
}
_KIND_OF: dict[type, Kind] = {
    str: Kind.TEXT,
    bson.DatetimeMS: Kind.DATE,
    int: Kind.NUMBER,
    bson.Int64: Kind.NUMBER,
    float: Kind.NUMBER,
    bool: Kind.BOOLEAN,
    bson.ObjectId: Kind.OBJECT_ID,
}


class _Unexpected(Exception):
    """The strict schema does not hold for these bytes."""


class Decoder:
    """Decodes batches of flat documents with one short name per field.

    One decoder serves one stream of batches; it is not shared between threads.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.names = {field: f"c{index}" for index, field in enumerate(self.fields)}
        self._kinds = {field: field.kind for field in self.fields}
        self._strict_names = [self.names[field] for field in self.fields if field.kind is not Kind.ANY]
        self._schema = self._make_schema()

    def decode(self, raw: bytes) -> Batch:
        """Decode the concatenated documents of `raw`. No value is lost, whatever its type."""
        try:
            batch = self._fast(raw)
        except _Unexpected:
            batch = self._by_pieces(raw)
        batch.source_bytes = len(raw)
        return batch

    def _make_schema(self) -> Schema:
        strict = {field: kind for field, kind in self._kinds.items() if kind is not Kind.ANY}
        return Schema({self.names[field]: _ARROW_TYPES[kind] for field, kind in strict.items()})

    def _fast(self, raw: bytes) -> Batch:
        self._probe(raw)
        context = PyMongoArrowContext(self._schema, allow_invalid=False)
        try:
            context.process_bson_stream(raw)
        except (TypeError, ValueError, OverflowError, InvalidBSON) as error:
            raise _Unexpected from error
        table = context.finish()
        columns = self._values_of_any(raw)
        for field, kind in self._kinds.items():
            if kind is Kind.ANY:
                continue
            array = table.column(self.names[field]).combine_chunks()
            _check(array, kind)
            columns[field] = [array]
        return Batch(table.num_rows, columns)

    def _values_of_any(self, raw: bytes) -> dict[Field, list[Chunk]]:
        """Decode the fields of kind ANY value by value; no other field pays for them."""
        names = {field: self.names[field] for field, kind in self._kinds.items() if kind is Kind.ANY}
        if not names:
            return {}
        documents = bson.decode_all(raw, SOUND_CODEC)
        return {field: [[document.get(name) for document in documents]] for field, name in names.items()}

    def _probe(self, raw: bytes) -> None:
        names = {
            kind: [self.names[field] for field, own in self._kinds.items() if own is kind]
            for kind in (Kind.NUMBER, Kind.TEXT_LIST)
        }
        if nans(raw, self._strict_names) or booleans(raw, names[Kind.NUMBER]) or non_lists(raw, names[Kind.TEXT_LIST]):
            raise _Unexpected

    def _by_pieces(self, raw: bytes) -> Batch:
        batch = Batch.empty(self.fields)
        tally: dict[Field, Counter[Kind | None]] = {field: Counter() for field in self.fields}
        for piece in _pieces(raw):
            try:
                batch.extend(self._fast(piece))
            except _Unexpected:
                batch.extend(self._slow(piece, tally))
        if batch.slow_documents > _LEARN_FROM_SHARE * batch.size:
            self._learn(tally)
        return batch

    def _slow(self, raw: bytes, tally: dict[Field, Counter[Kind | None]]) -> Batch:
        documents = bson.decode_all(raw, SOUND_CODEC)
        columns: dict[Field, list[Chunk]] = {}
        for field, name in self.names.items():
            values = [document.get(name) for document in documents]
            columns[field] = [values]
            tally[field].update(_KIND_OF.get(type(value)) for value in values if value is not None)
        return Batch(len(documents), columns, slow_documents=len(documents))

    def _learn(self, tally: dict[Field, Counter[Kind | None]]) -> None:
        """Expect what was seen: sound in any case, since the strict schema finds whatever differs from it."""
        for field, counts in tally.items():
            if field.kind in (Kind.TEXT_LIST, Kind.ANY) or not counts:
                continue
            kind, count = counts.most_common(1)[0]
            if kind is not None and count > _LEARN_WHEN_SHARE * counts.total():
                self._kinds[field] = kind
        self._schema = self._make_schema()


def _check(array: pa.Array, kind: Kind) -> None:
    """Refuse what decoded without an error but would be written wrong."""
    if kind in (Kind.TEXT, Kind.TEXT_LIST):
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:  # bytes that are not UTF-8
            raise _Unexpected from error
    elif kind is Kind.NUMBER and len(array):
        values = np.asarray(array.fill_null(0.0))
        if bool(np.any((np.abs(values) >= _EXACT_DOUBLE) & np.isfinite(values))):
            raise _Unexpected


def _pieces(raw: bytes) -> list[bytes]:
    """Cut concatenated documents into runs of at most `PIECE_DOCUMENTS`."""
    cuts = [0]
    position = count = 0
    while position < len(raw):
        position += int.from_bytes(raw[position : position + 4], "little")
        count += 1
        if count % PIECE_DOCUMENTS == 0:
            cuts.append(position)
    if cuts[-1] != position:
        cuts.append(position)
    return [raw[start:end] for start, end in pairwise(cuts)]


def last_document(raw: bytes) -> RawBSONDocument:
    """Give the last of the concatenated documents of `raw` (at least one), its values byte for byte as they came."""
    position = start = 0
    while position < len(raw):
        start = position
        position += int.from_bytes(raw[position : position + 4], "little")
    return RawBSONDocument(raw[start:], _RAW_CODEC)
