"""What the sources hand to the rows: decoded columns of one batch of documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from vfexport_core.catalog.collections import Field

Part: TypeAlias = "pa.Array | list[Any]"
"""Values of one type, or of any: an Arrow array, or a list of values as bson decodes them with SOUND_CODEC.

The arrays are of strings, timestamps in milliseconds, doubles, int64, booleans, binaries of 12 bytes (ObjectIds) or 16
(Decimal128, as BSON has it), lists of strings, or structs of such values for documents. Null, or None, is a value that
is missing or null; in such a struct, a name that is not there. Where there are nulls as well, each value of the name is
in a struct of its own.
"""


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """The values of one field in a run of documents, like a dense union: each type's values stand together in a part.

    `places` (int64) has one place per document among the values of all parts laid end to end, -1 for a document whose
    value is missing or null. Where all values are of one type it is None: the one part has one value per document.
    """

    parts: tuple[Part, ...]
    places: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.parts[0]) if self.places is None else len(self.places)

    def documents(self) -> npt.NDArray[np.int64]:
        """Return, per value of all parts laid end to end, the document whose value it is; -1 for nobody's."""
        if self.places is None:
            return np.arange(len(self), dtype=np.int64)
        owners = np.full(sum(map(len, self.parts)), -1, dtype=np.int64)
        used = np.flatnonzero(self.places >= 0)
        owners[self.places[used]] = used
        return owners


@dataclass(slots=True)
class Batch:
    """`size` documents; the columns of a field, in order, hold one value per document."""

    size: int
    columns: dict[Field, list[ColumnValues]]
    slow_documents: int = 0
    """Documents with a value that was decoded by itself; for measuring only."""
    source_bytes: int = 0

    @classmethod
    def empty(cls, fields: tuple[Field, ...]) -> Batch:
        """Return a batch of no documents."""
        return cls(0, {item: [] for item in fields})

    def extend(self, other: Batch) -> None:
        """Add the documents of `other`, which has the same columns, behind this batch's own."""
        for key, columns in other.columns.items():
            self.columns[key].extend(columns)
        self.size += other.size
        self.slow_documents += other.slow_documents
        self.source_bytes += other.source_bytes
