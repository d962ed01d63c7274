"""Odd documents: those with a value that is not of its field's usual type, taken apart one by one.

An odd document is tamed: its odd values are set aside, and what is left of it is encoded again, so that it can be
decoded together with the others. The values that were set aside take their places in the columns afterwards.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import bson
from bson.errors import InvalidBSON

from vfexport_core.catalog.expressions import Kind
from vfexport_core.sources.client import SOUND_CODEC
from vfexport_core.sources.strict import EXACT_DOUBLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

    from vfexport_core.sources.batch import Chunk

_LENGTH_BYTES = 4
_SMALLEST_DOCUMENT = 5
_Value = TypeVar("_Value")


def document_bounds(raw: bytes) -> list[int]:
    """Give where each of the concatenated documents of `raw` begins, and where the last one ends.

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


def tame(document: bytes, kinds: Mapping[str, Kind]) -> tuple[bytes, dict[str, Any]]:
    """Give the document without its odd values, and these: by name, as bson decodes them with SOUND_CODEC."""
    usual: dict[str, Any] = {}
    odd: dict[str, Any] = {}
    for name, value in bson.decode(document, SOUND_CODEC).items():
        kind = kinds.get(name)
        if kind is not None and value is not None:
            (usual if conforms(value, kind) else odd)[name] = value
    return bson.encode(usual), odd


def conforms(value: Any, kind: Kind) -> bool:
    """Tell whether strict decoding gives exactly this value for a field of this kind; in doubt it says no."""
    return _CONFORMS[kind](value)


def _is_text(value: Any) -> bool:
    """Tell whether a value is a string whose bytes were UTF-8: what was not has become lone surrogates."""
    if type(value) is not str:  # not a Code either, which bson gives as one
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_exact_number(value: Any) -> bool:
    """Tell whether a value is a number that a double holds as it is, and that is not taken for null."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return False
    return abs(value) < EXACT_DOUBLE or math.isinf(value)


_CONFORMS: dict[Kind, Callable[[Any], bool]] = {
    Kind.TEXT: _is_text,
    Kind.DATE: lambda value: isinstance(value, bson.DatetimeMS),
    Kind.NUMBER: _is_exact_number,
    Kind.BOOLEAN: lambda value: isinstance(value, bool),
    Kind.TEXT_LIST: _is_text_list,
    Kind.OBJECT_ID: lambda value: isinstance(value, bson.ObjectId),
}


def put_back(array: pa.Array, odd: Mapping[int, Any]) -> list[Chunk]:
    """Cut a column where odd values belong (by row), and put them there."""
    if not odd:
        return [array]
    chunks: list[Chunk] = []
    start = 0
    for first, values in _runs(odd):
        if first > start:
            chunks.append(array.slice(start, first - start))
        chunks.append(values)
        start = first + len(values)
    if start < len(array):
        chunks.append(array.slice(start))
    return chunks


def _runs(values: Mapping[int, _Value]) -> Iterator[tuple[int, list[_Value]]]:
    """Give the values of neighbouring rows together, each run with its first row."""
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
