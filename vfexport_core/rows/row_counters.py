"""What is counted of an export's documents and rows: by the batch, and added up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Tally:
    """Counts by name; a name that was never counted is not there."""

    counts: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, name: str, count: int) -> None:
        if count:
            self.counts[name] = self.counts.get(name, 0) + count

    def merge(self, other: Tally) -> None:
        for name, count in other.counts.items():
            self.add(name, count)


@dataclass(slots=True)
class RowCounters:
    """The figures of one batch, or of an export: the sum of its batches', in any order.

    `read` counts documents, `rows` what was made of them, `suppressed` documents of users whose data is being deleted.
    `warnings` tell what did not conform but lost nothing, `skipped` what has no row.
    """

    read: int = 0
    rows: int = 0
    suppressed: int = 0
    warnings: Tally = field(default_factory=Tally)
    skipped: Tally = field(default_factory=Tally)

    def merge(self, other: RowCounters) -> None:
        """Add the figures of `other`, which are of other documents."""
        self.read += other.read
        self.rows += other.rows
        self.suppressed += other.suppressed
        self.warnings.merge(other.warnings)
        self.skipped.merge(other.skipped)

    def meta(self) -> dict[str, Any]:
        """Return the figures that the export document keeps as ``meta``."""
        meta = {"read": self.read, "warnings": dict(self.warnings.counts), "skipped": dict(self.skipped.counts)}
        return meta | ({"ccpaExcluded": self.suppressed} if self.suppressed else {})
