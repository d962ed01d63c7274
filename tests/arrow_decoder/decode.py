"""BSON batches to Arrow columns: fast where the data is as expected, sound where it is not.

The documents are flat: the server renames each needed path to a short top-level name, because decoding nested documents
costs ten times as much. A batch is decoded strictly against a schema; a document with a value of another BSON type is
taken apart, and only its nonconforming values are kept as they are. A field that is of another type all the time
teaches the decoder, which then expects that type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import bson
import pyarrow as pa

from tests.arrow_decoder.fallback import FallbackDecoder, SchemaViolation
from tests.arrow_decoder.nonconforming import Chunk, document_bounds, restore
from tests.arrow_decoder.strict import StrictSchema
from vfexport_core.catalog.collections import Field, FieldType
from vfexport_core.mongo.client import SOUND_CODEC
from vfexport_core.sources.batch import Batch, ColumnValues
from vfexport_core.sources.projection import short_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ArrowDecoder:
    """Decodes batches of flat documents with one short name per field.

    One decoder serves one stream of batches; it is not shared between threads.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.names = short_names(self.fields)
        self._any = {field: name for field, name in self.names.items() if field.type is FieldType.ANY}
        self._strict = StrictSchema({name: field.type for field, name in self.names.items() if field not in self._any})

    def decode(self, raw: bytes) -> Batch:
        """Decode the concatenated documents of `raw`. No value is lost, whatever its type."""
        batch = Batch.empty(self.fields)
        rest = raw
        while rest:
            part = self._decode_some(rest)
            rest = rest[part.source_bytes :]
            batch.extend(part)
        return batch

    def _decode_some(self, raw: bytes) -> Batch:
        """Decode all of `raw`, or a beginning that taught to expect other types."""
        strict = self._strict
        decoded = None
        suspects = strict.suspects(raw)
        if not suspects:
            decoded = strict.read(raw)
            if not (decoded.stopped or strict.wrong_rows(decoded.arrays)):
                return self._batch(raw, {name: [array] for name, array in decoded.arrays.items()})
        fallback = FallbackDecoder(raw, strict)
        try:
            fallback.run(suspects, decoded)
        except SchemaViolation:
            return self._value_by_value(raw)
        if fallback.learned:
            self._strict = StrictSchema({**strict.types, **fallback.learned})
        columns = {name: restore(array, fallback.nonconforming[name]) for name, array in fallback.arrays().items()}
        batch = self._batch(raw[: fallback.decoded_bytes], columns)
        batch.slow_documents = len(fallback.slow_documents)
        return batch

    def _batch(self, raw: bytes, strict_columns: Mapping[str, list[Chunk]]) -> Batch:
        """Put the columns together; fields of type ANY are decoded value by value, and no other field pays for them."""
        columns = {
            field: list(map(_column, strict_columns[name]))
            for field, name in self.names.items()
            if field not in self._any
        }
        if self._any:
            documents = bson.decode_all(raw, SOUND_CODEC)
            columns |= {
                field: [ColumnValues(([document.get(name) for document in documents],))]
                for field, name in self._any.items()
            }
        size = sum(map(len, next(iter(columns.values())))) if columns else len(document_bounds(raw)) - 1
        return Batch(size, columns, source_bytes=len(raw))

    def _value_by_value(self, raw: bytes) -> Batch:
        documents = bson.decode_all(raw, SOUND_CODEC)
        columns = {
            field: [ColumnValues(([document.get(name) for document in documents],))]
            for field, name in self.names.items()
        }
        return Batch(len(documents), columns, slow_documents=len(documents), source_bytes=len(raw))


def _column(chunk: Chunk) -> ColumnValues:
    """Return a run of values as the own decoder gives it: ObjectIds are plain bytes there."""
    return ColumnValues((chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk,))
