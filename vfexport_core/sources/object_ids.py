"""Many ObjectIds at once: from their hex in a text column to the bytes of a query, without an object for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from bson.raw_bson import RawBSONDocument

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of 12 bytes.
Ids = npt.NDArray[np.uint8]

ID_BYTES = 12
_HEX_DIGITS = 2 * ID_BYTES
_NO_OCTET = 0xFFFF


def _octets() -> npt.NDArray[np.uint16]:
    """Return the octet that each two bytes write in lower-case hex, by these as a little-endian number."""
    octets = np.full(2**16, _NO_OCTET, dtype=np.uint16)
    for octet in range(256):
        octets[int.from_bytes(f"{octet:02x}".encode(), "little")] = octet
    return octets


_OCTETS = _octets()

_IN = b"\x04$in\0"
_OBJECT_ID_TYPE = 0x07
_ZERO = ord("0")
_LENGTH_BYTES = 4


def object_ids(texts: pa.Array) -> Ids:
    """Return the ids that the strings of a column write, in their order; only 24 digits in lower case are an id."""
    digits = _digits(texts)
    octets = _OCTETS[digits.view("<u2")]
    if len(octets) and octets.max() == _NO_OCTET:
        octets = octets[(octets != _NO_OCTET).all(axis=1)]
    return octets.astype(np.uint8)


def _digits(texts: pa.Array) -> npt.NDArray[np.uint8]:
    """Return the bytes of the strings that are as long as an id in hex: a row of 24 each."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return np.empty((0, _HEX_DIGITS), dtype=np.uint8)
    bounds = np.frombuffer(offsets, dtype=np.int32, count=len(texts) + 1, offset=texts.offset * 4)
    octets = np.frombuffer(data, dtype=np.uint8)
    of_length = np.diff(bounds) == _HEX_DIGITS
    if not texts.null_count and of_length.all():  # they stand one behind the other
        return octets[bounds[0] : bounds[-1]].reshape(-1, _HEX_DIGITS)
    starts = bounds[:-1][of_length & np.asarray(texts.is_valid())]
    return octets[starts[:, None] + np.arange(_HEX_DIGITS)]


def one_of(ids: Ids) -> RawBSONDocument:
    """Write the condition ``{"$in": [...]}`` for these ids."""
    elements = b"".join(_elements(ids))
    array = (_LENGTH_BYTES + len(elements) + 1).to_bytes(_LENGTH_BYTES, "little") + elements + b"\0"
    size = _LENGTH_BYTES + len(_IN) + len(array) + 1
    return RawBSONDocument(size.to_bytes(_LENGTH_BYTES, "little") + _IN + array + b"\0")


def _elements(ids: Ids) -> list[bytes]:
    """Write the elements of an array; those whose keys ("0", "1", ...) have as many digits are alike in size."""
    blocks: list[bytes] = []
    start, digits = 0, 1
    while start < len(ids):
        stop = min(10**digits, len(ids))
        keys = np.arange(start, stop)
        block = np.zeros((stop - start, 1 + digits + 1 + ID_BYTES), dtype=np.uint8)
        block[:, 0] = _OBJECT_ID_TYPE
        for place in range(digits):
            block[:, digits - place] = _ZERO + keys // 10**place % 10
        block[:, -ID_BYTES:] = ids[start:stop]
        blocks.append(block.tobytes())
        start, digits = stop, digits + 1
    return blocks
