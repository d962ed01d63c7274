"""Ids that follow from the seed and the campaign's name: the same arguments give the same documents everywhere.

Ids of fans do not rise with their number, so the order of insertion is not the order of ``_id``, as in real data.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX_BYTES = 8
_OBJECT_ID_BYTES = 12
_MASK = 0xFFFFFFFF
# An odd factor is invertible modulo 2**32: no two numbers get the same id.
_FACTOR = 2_654_435_761
_TOGGLE = 0x5BD1E995


def digest(*parts: object) -> bytes:
    """Return 32 bytes that follow from `parts`."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()


def object_id(*parts: object) -> str:
    """Return 24 hex digits that follow from `parts`."""
    return digest(*parts)[:_OBJECT_ID_BYTES].hex()


def scattered(number: int) -> int:
    """Return `number` (below 2**32) its own place in a fixed, irregular order of 2**32 numbers."""
    return (number * _FACTOR & _MASK) ^ _TOGGLE


class IdSeries:
    """24-hex ids for the numbers 0, 1, 2, ...; two series have no id in common."""

    def __init__(self, *parts: object) -> None:
        self._prefix = digest(*parts)[:_PREFIX_BYTES].hex()

    def slices(self) -> Iterator[tuple[str, str]]:
        """Return 256 ranges (first, last) that hold all ids between them, each about as many."""
        for number in range(256):
            yield f"{self._prefix}{number:02x}000000", f"{self._prefix}{number:02x}ffffff"

    def __getitem__(self, number: int) -> str:
        return f"{self._prefix}{scattered(number):08x}"
