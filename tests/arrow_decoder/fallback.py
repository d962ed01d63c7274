"""The fallback for a batch of which not every document conforms: decoded fast but for those, which are taken apart."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any

import bson
import pyarrow as pa

from tests.arrow_decoder.nonconforming import document_bounds, separate
from vfexport_core.catalog.collections import FieldType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.arrow_decoder.strict import Decoded, StrictSchema

# Where nonconforming documents are this near to each other, several are taken apart before decoding goes on: to begin
# anew costs as much as to take a few dozen documents apart.
_NEAR_DOCUMENTS = 32
_MOST_AT_ONCE = 128
_LEARN_FROM_DOCUMENTS = 32
_LEARN_FROM_SHARE = 0.25  # nonconforming documents among those decoded
_LEARN_WHEN_SHARE = 0.75  # of a field's values of one other type

_TYPE_OF: dict[type, FieldType] = {
    str: FieldType.TEXT,
    bson.DatetimeMS: FieldType.DATE,
    int: FieldType.NUMBER,
    bson.Int64: FieldType.NUMBER,
    float: FieldType.NUMBER,
    bool: FieldType.BOOLEAN,
    bson.ObjectId: FieldType.OBJECT_ID,
}


class SchemaViolation(Exception):
    """Strict decoding refused what conforms, or passed what it should have refused: its answers are not to be used."""


class FallbackDecoder:
    """Decodes `raw` until its end, or until so much of it was nonconforming that other types should be expected.

    Then `rows` documents are decoded, `slow_documents` of them taken apart: each column is `arrays` but for its
    `nonconforming` values (by name and row), and `learned` are the types to be expected instead.
    """

    def __init__(self, raw: bytes, strict: StrictSchema) -> None:
        """Raise InvalidBSON when `raw` is not documents, one behind the other."""
        self.rows = 0
        self.nonconforming: dict[str, dict[int, Any]] = {name: {} for name in strict.types}
        self.slow_documents: set[int] = set()
        self.learned: dict[str, FieldType] = {}
        self._raw = raw
        self._bounds = document_bounds(raw)
        self._strict = strict
        self._candidates = 2 if FieldType.TEXT_LIST in strict.types.values() else 1
        self._parts: list[dict[str, pa.Array]] = []
        # Only of documents that are still to be decoded.
        self._separated: dict[int, bytes] = {}

    @property
    def decoded_bytes(self) -> int:
        return self._bounds[self.rows]

    def arrays(self) -> dict[str, pa.Array]:
        return {name: pa.concat_arrays([part[name] for part in self._parts]) for name in self._strict.types}

    def run(self, suspects: Iterable[int], first: Decoded | None) -> None:
        """Go on behind what strict decoding gave `first`, if it can be trusted in spite of the suspects (places).

        Raises SchemaViolation when strict decoding and the rules of nonconforming.py do not agree.
        """
        self._separate({bisect_right(self._bounds, place) - 1 for place in suspects})
        decoded = first or self._strict.read(self._to_be_decoded())
        at_once = 1
        while True:
            self._keep(decoded)
            if self._learn() or not decoded.stopped:
                break
            at_once = min(2 * at_once, _MOST_AT_ONCE) if decoded.rows < _NEAR_DOCUMENTS else 1
            self._separate_the_next(at_once)
            decoded = self._strict.read(self._to_be_decoded())
        if not (decoded.stopped or self.rows == len(self._bounds) - 1):
            raise SchemaViolation
        self._forget_beyond()

    def _keep(self, decoded: Decoded) -> None:
        """Take what was decoded, and set aside the values in it that would be written wrong."""
        self._parts.append(decoded.arrays)
        wrong = {self.rows + row for row in self._strict.wrong_rows(decoded.arrays)}
        self.rows += decoded.rows
        for document in wrong:
            self._take_apart(document)
        if not wrong <= self.slow_documents:
            raise SchemaViolation
        self._separated = {document: data for document, data in self._separated.items() if document >= self.rows}

    def _separate_the_next(self, count: int) -> None:
        """Take apart the document that stopped the decoding and those behind it."""
        last = min(self.rows + self._candidates - 1 + count, len(self._bounds) - 1)
        fresh = [document for document in range(self.rows, last) if document not in self._separated]
        self._separate(fresh)
        if not any(document in self.slow_documents for document in fresh if document < self.rows + self._candidates):
            raise SchemaViolation

    def _separate(self, documents: Iterable[int]) -> None:
        for document in documents:
            self._separated[document] = self._take_apart(document)

    def _take_apart(self, document: int) -> bytes:
        """Note the nonconforming values of a document, and return what is left of it."""
        raw = self._raw[self._bounds[document] : self._bounds[document + 1]]
        conforming, nonconforming = separate(raw, self._strict.types)
        for name, value in nonconforming.items():
            self.nonconforming[name][document] = value
        if nonconforming:
            self.slow_documents.add(document)
        return conforming

    def _to_be_decoded(self) -> bytes:
        """Return the documents that are not decoded yet, those taken apart without their nonconforming values."""
        pieces: list[bytes] = []
        start = self.decoded_bytes
        for document in sorted(self._separated):
            pieces += (self._raw[start : self._bounds[document]], self._separated[document])
            start = self._bounds[document + 1]
        return b"".join([*pieces, self._raw[start:]])

    def _learn(self) -> bool:
        """Return whether to expect other types: sound in any case, since strict decoding finds whatever differs."""
        slow = sum(document < self.rows for document in self.slow_documents)
        if slow < _LEARN_FROM_DOCUMENTS or slow <= _LEARN_FROM_SHARE * self.rows:
            return False
        for name, type_ in self._strict.types.items():
            values = (value for row, value in self.nonconforming[name].items() if row < self.rows)
            others = Counter(_TYPE_OF.get(type(value)) for value in values)
            if type_ is FieldType.TEXT_LIST or not others:
                continue
            conforming = sum(len(part[name]) - part[name].null_count for part in self._parts)
            other, count = others.most_common(1)[0]
            if other not in (None, type_) and count > _LEARN_WHEN_SHARE * (conforming + others.total()):
                self.learned[name] = other
        return bool(self.learned)

    def _forget_beyond(self) -> None:
        """Forget what was found out about documents that are not decoded."""
        self.slow_documents = {document for document in self.slow_documents if document < self.rows}
        self.nonconforming = {
            name: {row: value for row, value in values.items() if row < self.rows}
            for name, values in self.nonconforming.items()
        }
