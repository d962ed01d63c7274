"""How far an export is and how fast: the figures that every display shows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTE = 1_000_000
_MINUTE, _HOUR = 60, 3_600


@dataclass(slots=True)
class Meter:
    """Takes totals (documents read, rows and bytes written) and gives rates, from the first totals it saw on.

    `total` is the preliminary number of documents to read, None when it is not known.
    """

    total: int | None = None
    clock: Callable[[], float] = time.monotonic
    read: int = 0
    rows: int = 0
    bytes: int = 0
    _start: tuple[float, int, int] | None = field(default=None)

    def update(self, read: int, rows: int, size: int) -> None:
        """Take new totals; the first ones are where the rates begin: a follower may come in the middle."""
        self.read, self.rows, self.bytes = read, rows, size
        if self._start is None:
            self._start = (self.clock(), read, rows)

    @property
    def rows_per_second(self) -> float:
        return 0.0 if self._start is None else (self.rows - self._start[2]) / self._elapsed(self._start[0])

    @property
    def seconds_left(self) -> float | None:
        """Return the estimated time to the end; None when it cannot be known yet."""
        if not self.total or self._start is None or self.read <= self._start[1]:
            return None
        per_second = (self.read - self._start[1]) / self._elapsed(self._start[0])
        return max(0, self.total - self.read) / per_second

    @property
    def share(self) -> float | None:
        """Return the part of the documents that has been read, from 0 to 1; None when the whole is not known."""
        return min(1.0, self.read / self.total) if self.total else None

    def line(self) -> str:
        """Return everything in one line of text."""
        parts = [f"{self.rows:,} rows", f"{self.rows_per_second:,.0f} rows/s", f"{self.bytes / MEGABYTE:,.1f} MB"]
        if self.share is not None:
            parts.insert(0, f"{self.share:4.0%}")
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        return ", ".join(parts)

    def _elapsed(self, start: float) -> float:
        return max(self.clock() - start, 0.001)


def duration(seconds: float) -> str:
    """Write a length of time as ``0:07``, ``12:34`` or ``1:02:03``."""
    whole = round(seconds)
    minutes, rest = divmod(whole, _MINUTE)
    if whole < _HOUR:
        return f"{minutes}:{rest:02}"
    return f"{whole // _HOUR}:{minutes % _MINUTE:02}:{rest:02}"
