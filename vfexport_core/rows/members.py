"""A large set of ids in little memory: whom the waitlist leaves out.

Ids stand sorted in one fixed-width array, about 24 bytes each (2,000,000 ids: 48 MB); the few that are longer than
`_WIDTH` bytes are kept apart, so that one odd id does not widen all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vfexport_core.rows.values import id_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

_WIDTH = 40  # a UUID in words has 36


class MemberSet:
    """The ids of all lists, compared as ids are (rows.comparable_ids)."""

    def __init__(self, lists: Iterable[list[Any]]) -> None:
        arrays: list[npt.NDArray[np.bytes_]] = []
        self._long: set[bytes] = set()
        for values in lists:
            keys = [key.encode() for value in values if (key := id_key(value))]
            self._long.update(key for key in keys if len(key) > _WIDTH)
            short = [key for key in keys if len(key) <= _WIDTH]
            if short:
                arrays.append(np.array(short, dtype=np.bytes_))
        self._sorted = np.concatenate(arrays) if arrays else np.array([], dtype="S1")
        arrays.clear()
        self._sorted.sort()  # in place, and with its repetitions: a copy without them would double the memory

    def __len__(self) -> int:
        repeated = int(np.count_nonzero(self._sorted[1:] == self._sorted[:-1]))
        return len(self._sorted) - repeated + len(self._long)

    def holds(self, keys: pa.Array) -> npt.NDArray[np.bool_]:
        """Return, per key, whether it is in the set; a missing key is not."""
        texts = [(key or "").encode() for key in keys.to_pylist()]
        found = np.fromiter((len(text) > _WIDTH and text in self._long for text in texts), np.bool_, len(texts))
        if len(self._sorted):
            short = np.array([text if len(text) <= _WIDTH else b"" for text in texts], dtype=np.bytes_)
            places = np.minimum(np.searchsorted(self._sorted, short), len(self._sorted) - 1)
            found |= (self._sorted[places] == short) & (short != b"")
        return found
