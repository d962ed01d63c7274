"""What the sources hand to the rows: decoded columns of one batch of documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

    from vfexport_core.catalog.expressions import Field

Chunk: TypeAlias = "pa.Array | list[Any]"
"""A run of values of one field, one per document.

An array of the Arrow type of the field's `FieldType` (sources.strict), or of the one that was learned; null for a value
that is missing or null. Where values did not conform, a list of these as bson decodes them, to be rendered one by
one.
"""


@dataclass(slots=True)
class Batch:
    """`size` documents; each column's chunks, in order, hold one value per document (null or None: missing or null)."""

    size: int
    columns: dict[Field, list[Chunk]]
    slow_documents: int = 0
    """Documents that took the sound slow path; for measuring only."""
    source_bytes: int = 0

    @classmethod
    def empty(cls, fields: tuple[Field, ...]) -> Batch:
        """Return a batch of no documents."""
        return cls(0, {item: [] for item in fields})

    def extend(self, other: Batch) -> None:
        """Add the documents of `other`, which has the same columns, behind this batch's own."""
        for key, chunks in other.columns.items():
            self.columns[key].extend(chunks)
        self.size += other.size
        self.slow_documents += other.slow_documents
        self.source_bytes += other.source_bytes
