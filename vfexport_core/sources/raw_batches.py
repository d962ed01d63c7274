"""A cursor's batches as bytes: what the driver receives is cut out of its reply, not decoded and not copied twice.

The driver's own raw batches cost an empty first batch (one more round trip for each query) and, in pymongo 4.20, a
`RawBSONDocument` for every document of a batch. Here the driver is given a document class for its replies instead,
which is a public option: it makes one object per reply, reads ``cursor.firstBatch`` or ``cursor.nextBatch`` of it and
hands on the elements as they are. The one element is the batch.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import bson
from bson.codec_options import CodecOptions
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from pymongo.collection import Collection

    from vfexport_core.mongo.document import Document

_DOCUMENT, _ARRAY, _REGEX = 0x03, 0x04, 0x0B
# Bytes of the values whose type says it all, and those beside the length that other values begin with.
_FIXED_BYTES = {
    0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0xFF: 0, 0x7F: 0,
}  # fmt: skip
_BYTES_BESIDE_LENGTH = {0x02: 4, _DOCUMENT: 0, _ARRAY: 0, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x0F: 0}
_LENGTH_BYTES = 4

# As the driver decodes what is meant for itself: a message of the server may hold anything.
_PLAIN: CodecOptions[dict[str, Any]] = CodecOptions(unicode_decode_error_handler="replace")


class _Element(NamedTuple):
    """Where an element of a BSON document stands: its type's byte, its value, the byte behind it."""

    type: int
    name: bytes
    start: int
    value: int
    end: int


class Reply(RawBSONDocument):
    """A server's reply: the fields as they are, but for a cursor's batch, a list of one `bytes` (of none if empty).

    The bytes are the batch's documents, one behind the other.
    """

    __slots__ = ("_fields",)

    def __init__(self, bson_bytes: bytes | memoryview, codec_options: CodecOptions[Any] | None = None) -> None:
        super().__init__(bson_bytes, codec_options)
        self._fields = _decode(memoryview(bson_bytes))

    def __getitem__(self, item: str) -> Any:
        return self._fields[item]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def items(self) -> Any:
        return self._fields.items()


REPLY_CODEC: CodecOptions[Reply] = CodecOptions(document_class=Reply)


def _decode(reply: memoryview) -> dict[str, Any]:
    cursor = _find(reply, _DOCUMENT, b"cursor")
    if cursor is None:
        return bson.decode(reply, _PLAIN)
    document = reply[cursor.value : cursor.end]
    batch = _find(document, _ARRAY, b"firstBatch", b"nextBatch")
    if batch is None:
        return bson.decode(reply, _PLAIN)
    documents = documents_of_array(document[batch.value : batch.end])
    fields = bson.decode(_without(document, batch), _PLAIN)
    fields[batch.name.decode()] = [documents] if documents else []
    return {**bson.decode(_without(reply, cursor), _PLAIN), "cursor": fields}


def _find(document: memoryview, type_: int, *names: bytes) -> _Element | None:
    """Find the element of this type and of one of these names; what stands behind it is not looked at."""
    return next((item for item in _elements(document) if item.type == type_ and item.name in names), None)


def _elements(document: memoryview) -> Iterator[_Element]:
    position, end = _LENGTH_BYTES, len(document) - 1
    while position < end:
        type_ = document[position]
        value = _behind_string(document, position + 1)
        after = _end_of_value(document, type_, value)
        if not value <= after <= end:
            raise InvalidBSON(f"an element of a reply ends at byte {after} of {end}")
        yield _Element(type_, bytes(document[position + 1 : value - 1]), position, value, after)
        position = after


def _end_of_value(document: memoryview, type_: int, start: int) -> int:
    if type_ in _FIXED_BYTES:
        return start + _FIXED_BYTES[type_]
    if type_ in _BYTES_BESIDE_LENGTH:
        length = int.from_bytes(document[start : start + _LENGTH_BYTES], "little")
        return start + _BYTES_BESIDE_LENGTH[type_] + length
    if type_ == _REGEX:
        return _behind_string(document, _behind_string(document, start))
    raise InvalidBSON(f"a reply holds a value of the unknown type {type_:#04x}")


def _behind_string(document: memoryview, start: int) -> int:
    position, end = start, len(document)
    while position < end and document[position]:
        position += 1
    return position + 1


def _without(document: memoryview, element: _Element) -> bytes:
    length = len(document) - (element.end - element.start)
    return b"".join(
        (
            length.to_bytes(_LENGTH_BYTES, "little"),
            document[_LENGTH_BYTES : element.start],
            document[element.end :],
        )
    )


def strip_keys(array: memoryview) -> bytes:
    """Return the documents of a BSON array, one behind the other; raises InvalidBSON when it holds anything else."""
    documents: list[memoryview] = []
    for element in _elements(array):
        if element.type != _DOCUMENT:
            raise InvalidBSON(f"a batch holds a value of type {element.type:#04x}, not a document")
        documents.append(array[element.value : element.end])
    return b"".join(documents)


# The driver has the same in C, ten times as fast, but not by a public name: it may go away.
documents_of_array: Callable[[memoryview], bytes] = getattr(bson, "_array_of_documents_to_buffer", strip_keys)


class RawBatches(Protocol):
    """A cursor, as it is read here."""

    def __iter__(self) -> Iterator[bytes]: ...

    def batch_size(self, batch_size: int, /) -> object:
        """Ask for so many documents from the next reply on."""
        ...


@contextmanager
def raw_batches(
    collection: Collection[Document],
    pipeline: list[dict[str, Any]],
    batch_documents: int,
    *,
    hint: str | None = None,
) -> Generator[RawBatches]:
    """Run an aggregation and give its answers as they come: concatenated BSON documents, never empty.

    `hint` names the index to use; without it the server chooses.
    """
    options: dict[str, Any] = {"batchSize": batch_documents} | ({} if hint is None else {"hint": hint})
    with collection.with_options(codec_options=REPLY_CODEC).aggregate(pipeline, **options) as cursor:
        # The driver's annotation speaks of documents, but what it takes from such a reply are bytes.
        yield cast("RawBatches", cursor)
