"""One batch of which not every document is as expected: decoded fast but for the odd documents."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any

import bson
import pyarrow as pa

from vfexport_core.catalog.expressions import Kind
from vfexport_core.sources.odd import document_bounds, tame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfexport_core.sources.strict import Decoded, StrictSchema

# Where odd documents are this near to each other, several are looked at before decoding goes on: to begin anew costs
# as much as to look at a few dozen documents.
_NEAR_DOCUMENTS = 32
_MOST_AT_ONCE = 128
_LEARN_FROM_DOCUMENTS = 32
_LEARN_FROM_SHARE = 0.25  # odd documents among those decoded
_LEARN_WHEN_SHARE = 0.75  # of a field's values of one other type

_KIND_OF: dict[type, Kind] = {
    str: Kind.TEXT,
    bson.DatetimeMS: Kind.DATE,
    int: Kind.NUMBER,
    bson.Int64: Kind.NUMBER,
    float: Kind.NUMBER,
    bool: Kind.BOOLEAN,
    bson.ObjectId: Kind.OBJECT_ID,
}


class Distrusted(Exception):
    """Strict decoding refused what conforms, or passed what it should have refused: its answers are not to be used."""


class Mending:
    """Decodes `raw` until its end, or until so much of it was odd that other types should be expected.

    Then `rows` documents are decoded: each column is `arrays` but for its `odd` values (by name and row), and `learned`
    are the kinds to be expected instead.
    """

    def __init__(self, raw: bytes, strict: StrictSchema) -> None:
        """Raise InvalidBSON when `raw` is not documents, one behind the other."""
        self.rows = 0
        self.odd: dict[str, dict[int, Any]] = {name: {} for name in strict.kinds}
        self.odd_documents: set[int] = set()
        self.learned: dict[str, Kind] = {}
        self._raw = raw
        self._bounds = document_bounds(raw)
        self._strict = strict
        self._candidates = 2 if Kind.TEXT_LIST in strict.kinds.values() else 1
        self._parts: list[dict[str, pa.Array]] = []
        # Only of documents that are still to be decoded.
        self._tamed: dict[int, bytes] = {}

    @property
    def decoded_bytes(self) -> int:
        return self._bounds[self.rows]

    def arrays(self) -> dict[str, pa.Array]:
        return {name: pa.concat_arrays([part[name] for part in self._parts]) for name in self._strict.kinds}

    def run(self, suspects: Iterable[int], first: Decoded | None) -> None:
        """Go on behind what strict decoding gave `first`, if it is to be trusted in spite of the suspects (places).

        Raises Distrusted when strict decoding and the rules of odd.py do not agree.
        """
        self._tame({bisect_right(self._bounds, place) - 1 for place in suspects})
        decoded = first or self._strict.read(self._to_be_decoded())
        at_once = 1
        while True:
            self._keep(decoded)
            if self._learn() or not decoded.stopped:
                break
            at_once = min(2 * at_once, _MOST_AT_ONCE) if decoded.rows < _NEAR_DOCUMENTS else 1
            self._tame_the_next(at_once)
            decoded = self._strict.read(self._to_be_decoded())
        if not (decoded.stopped or self.rows == len(self._bounds) - 1):
            raise Distrusted
        self._forget_beyond()

    def _keep(self, decoded: Decoded) -> None:
        """Take what was decoded, and set aside the values in it that would be written wrong."""
        self._parts.append(decoded.arrays)
        wrong = {self.rows + row for row in self._strict.wrong_rows(decoded.arrays)}
        self.rows += decoded.rows
        for document in wrong:
            self._take_apart(document)
        if not wrong <= self.odd_documents:
            raise Distrusted
        self._tamed = {document: data for document, data in self._tamed.items() if document >= self.rows}

    def _tame_the_next(self, count: int) -> None:
        """Look at the document that stopped the decoding and at those behind it."""
        last = min(self.rows + self._candidates - 1 + count, len(self._bounds) - 1)
        fresh = [document for document in range(self.rows, last) if document not in self._tamed]
        self._tame(fresh)
        if not any(document in self.odd_documents for document in fresh if document < self.rows + self._candidates):
            raise Distrusted

    def _tame(self, documents: Iterable[int]) -> None:
        for document in documents:
            self._tamed[document] = self._take_apart(document)

    def _take_apart(self, document: int) -> bytes:
        """Note the odd values of a document, and give what is left of it."""
        raw = self._raw[self._bounds[document] : self._bounds[document + 1]]
        usual, odd = tame(raw, self._strict.kinds)
        for name, value in odd.items():
            self.odd[name][document] = value
        if odd:
            self.odd_documents.add(document)
        return usual

    def _to_be_decoded(self) -> bytes:
        """Give the documents that are not decoded yet, those that were looked at without their odd values."""
        pieces: list[bytes] = []
        start = self.decoded_bytes
        for document in sorted(self._tamed):
            pieces += (self._raw[start : self._bounds[document]], self._tamed[document])
            start = self._bounds[document + 1]
        return b"".join([*pieces, self._raw[start:]])

    def _learn(self) -> bool:
        """Tell whether to expect other kinds: sound in any case, since strict decoding finds whatever differs."""
        odd_documents = sum(document < self.rows for document in self.odd_documents)
        if odd_documents < _LEARN_FROM_DOCUMENTS or odd_documents <= _LEARN_FROM_SHARE * self.rows:
            return False
        for name, kind in self._strict.kinds.items():
            odd = Counter(_KIND_OF.get(type(value)) for row, value in self.odd[name].items() if row < self.rows)
            if kind is Kind.TEXT_LIST or not odd:
                continue
            usual = sum(len(part[name]) - part[name].null_count for part in self._parts)
            other, count = odd.most_common(1)[0]
            if other not in (None, kind) and count > _LEARN_WHEN_SHARE * (usual + odd.total()):
                self.learned[name] = other
        return bool(self.learned)

    def _forget_beyond(self) -> None:
        """Forget what was found out about documents that are not decoded."""
        self.odd_documents = {document for document in self.odd_documents if document < self.rows}
        self.odd = {
            name: {row: value for row, value in values.items() if row < self.rows} for name, values in self.odd.items()
        }
