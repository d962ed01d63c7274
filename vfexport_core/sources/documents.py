"""Where the documents of a batch begin and end."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from vfexport_core.mongo.client import SOUND_CODEC

LENGTH_BYTES = 4
_SMALLEST_DOCUMENT = 5
# How many bytes a chain of documents has that is followed beside others, and from how many chains on that is worth its
# while.
_CHAIN_BYTES = 4_096
_FEWEST_CHAINS = 64
_RAW_CODEC = SOUND_CODEC.with_options(document_class=RawBSONDocument)

Positions = npt.NDArray[np.int64]


def document_bounds(raw: bytes) -> Positions:
    """Return where each of the n concatenated documents of `raw` begins, and where the last one ends (n + 1 of them).

    Raises InvalidBSON when a document's length cannot be.
    """
    starts = _side_by_side(raw)
    return _one_by_one(raw) if starts is None else np.append(starts, len(raw))


def last_document(raw: bytes) -> RawBSONDocument:
    """Return the last of the concatenated documents of `raw` (at least one), its values byte for byte as they came."""
    return RawBSONDocument(raw[document_bounds(raw)[-2] :], _RAW_CODEC)


def _one_by_one(raw: bytes) -> Positions:
    bounds = [0]
    position, end = 0, len(raw)
    unpack = struct.Struct("<i").unpack_from
    while position < end:
        length = unpack(raw, position)[0] if end - position >= LENGTH_BYTES else 0
        position += length
        if length < _SMALLEST_DOCUMENT or position > end:
            raise InvalidBSON(f"document {len(bounds)} of a batch has an impossible length of {length} bytes")
        bounds.append(position)
    return np.array(bounds, dtype=np.int64)


def _side_by_side(raw: bytes) -> Positions | None:
    """Return where the documents begin, or None when that has to be found out one by one.

    Only a document's length says where the next one begins, but most documents begin with the same element. Where its
    type and name stand, a document is guessed to begin, and the chains from one guess to the next are followed all at
    once. The first chain begins with the first document; if each ends exactly where the next one begins, no guess was
    wrong.
    """
    guesses = _guess(raw)
    if guesses is None:
        return None
    lengths = np.ndarray((len(raw) - LENGTH_BYTES + 1,), "<u4", raw, strides=(1,))
    position, ends = guesses[:-1], guesses[1:]
    passed: list[Positions] = []
    while (position < ends).any():
        passed.append(position)
        length = lengths[np.minimum(position, len(lengths) - 1)]
        position = np.where(position < ends, position + np.maximum(length, _SMALLEST_DOCUMENT), position)
    if not np.array_equal(position, ends):
        return None
    chains = np.stack(passed, axis=1)
    starts = chains[chains < ends[:, None]]
    return starts if (lengths[starts] >= _SMALLEST_DOCUMENT).all() else None


def _guess(raw: bytes) -> Positions | None:
    """Return places where documents probably begin: the first (0) and one every `_CHAIN_BYTES`; and the end.

    Returns None when they are few.
    """
    end = len(raw)
    if end < _FEWEST_CHAINS * _CHAIN_BYTES:
        return None
    beginning = raw[LENGTH_BYTES : raw.find(0, LENGTH_BYTES + 1) + 1]
    windows = range(_CHAIN_BYTES, end - _CHAIN_BYTES, _CHAIN_BYTES)
    found = [raw.find(beginning, place, place + _CHAIN_BYTES) for place in windows]
    guesses = [place - LENGTH_BYTES for place in found if place > 0]
    return np.array([0, *guesses, end], dtype=np.int64) if 2 * len(guesses) > len(found) else None
