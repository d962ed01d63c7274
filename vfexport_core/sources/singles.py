"""Values decoded by themselves, by bson: sound for any value of any type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bson
from bson.errors import InvalidBSON

from vfexport_core.mongo.client import SOUND_CODEC
from vfexport_core.sources.documents import LENGTH_BYTES

if TYPE_CHECKING:
    from vfexport_core.sources.documents import Positions

_ARRAY_HEADER = b"\x04\0"


def decode_elements(padded: bytes, starts: Positions, ends: Positions) -> list[Any]:
    """Return the values of the elements that stand from `starts` to before `ends`; raises InvalidBSON.

    They are made one array, whose keys do not matter, so that bson is called once.
    """
    if not len(starts):
        return []
    elements = b"".join([padded[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)])
    (values,) = bson.decode(_enclosed(_ARRAY_HEADER + _enclosed(elements)), SOUND_CODEC).values()
    if len(values) != len(starts):
        raise InvalidBSON(f"{len(starts)} values of a batch were read as {len(values)}")
    return values


def decode_documents(padded: bytes, bounds: Positions, documents: Positions) -> list[dict[str, Any]]:
    """Return these of the documents that begin at `bounds`; raises InvalidBSON."""
    return [
        bson.decode(padded[bounds[document] : bounds[document + 1]], SOUND_CODEC) for document in documents.tolist()
    ]


def _enclosed(elements: bytes) -> bytes:
    return (LENGTH_BYTES + len(elements) + 1).to_bytes(LENGTH_BYTES, "little") + elements + b"\0"
