"""Nonconforming documents: those with a value that is not of its field's type, taken apart one by one.

The nonconforming values are set aside, and what is left of the document is encoded again, so that it can be decoded
together with the others. The values that were set aside are restored to their places in the columns afterwards.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, assert_never

import bson
from bson.errors import InvalidBSON

from tests.arrow_decoder.strict import EXACT_DOUBLE
from vfexport_core.catalog.collections import FieldType
from vfexport_core.mongo.client import SOUND_CODEC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa


_LENGTH_BYTES = 4
_SMALLEST_DOCUMENT = 5
_Value = TypeVar("_Value")
Chunk: TypeAlias = "pa.Array | list[Any]"


def document_bounds(raw: bytes) -> list[int]:
    """Return where each of the concatenated documents of `raw` begins, and where the last one ends.

    Raises InvalidBSON when a document's length cannot be.
    """
    bounds = [0]
    position, end = 0, len(raw)
    while position < end:
        length = int.from_bytes(raw[position : position + _LENGTH_BYTES], "little")
        position += length
        if length < _SMALLEST_DOCUMENT or position > end:
            raise InvalidBSON(f"document {len(bounds)} of a batch has an impossible length of {length} bytes")
        bounds.append(position)
    return bounds


def separate(document: bytes, types: Mapping[str, FieldType]) -> tuple[bytes, dict[str, Any]]:
    """Return the document without its nonconforming values, and these by name, as SOUND_CODEC decodes them."""
    conforming: dict[str, Any] = {}
    nonconforming: dict[str, Any] = {}
    for name, value in bson.decode(document, SOUND_CODEC).items():
        type_ = types.get(name)
        if type_ is not None and value is not None:
            (conforming if conforms(value, type_) else nonconforming)[name] = value
    return bson.encode(conforming), nonconforming


def conforms(value: Any, type_: FieldType) -> bool:
    """Return whether strict decoding gives exactly this value for a field of this type; in doubt it is False."""
    match type_:
        case FieldType.TEXT:
            return _is_text(value)
        case FieldType.DATE:
            return isinstance(value, bson.DatetimeMS)
        case FieldType.NUMBER:
            return _is_exact_number(value)
        case FieldType.BOOLEAN:
            return isinstance(value, bool)
        case FieldType.TEXT_LIST:
            return isinstance(value, list) and all(map(_is_text, value))
        case FieldType.OBJECT_ID:
            return isinstance(value, bson.ObjectId)
        case FieldType.ANY:
            raise ValueError("values of any type are not decoded strictly")
        case _:
            assert_never(type_)


def _is_text(value: Any) -> bool:
    """Return whether a value is a string whose bytes were UTF-8: what was not has become lone surrogates."""
    if type(value) is not str:  # not a Code either, which bson gives as one
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_exact_number(value: Any) -> bool:
    """Return whether a value is a number that a double holds as it is, and that is not taken for null."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return False
    return abs(value) < EXACT_DOUBLE or math.isinf(value)


def restore(array: pa.Array, nonconforming: Mapping[int, Any]) -> list[Chunk]:
    """Return a column as chunks: `array` (null: missing or null), cut where nonconforming values (by row) belong.

    `array` has a place for each of them, whatever stands there.
    """
    if not nonconforming:
        return [array]
    chunks: list[Chunk] = []
    start = 0
    for first, values in _runs(nonconforming):
        if first > start:
            chunks.append(array.slice(start, first - start))
        chunks.append(values)
        start = first + len(values)
    if start < len(array):
        chunks.append(array.slice(start))
    return chunks


def _runs(values: Mapping[int, _Value]) -> Iterator[tuple[int, list[_Value]]]:
    """Return the values of neighbouring rows together, each run with its first row."""
    run: list[_Value] = []
    first = 0
    for row in sorted(values):
        if run and row != first + len(run):
            yield first, run
            run = []
        if not run:
            first = row
        run.append(values[row])
    if run:
        yield first, run
