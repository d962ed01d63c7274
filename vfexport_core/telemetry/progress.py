"""How far an export is and how fast: the figures that every display and every log shows, and how often a log does."""

from __future__ import annotations

import time
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTE = 1_000_000
_LINE_SECONDS = 1.0
_LINE_SHARE = 0.05
# A small export would otherwise spend its time on telling how far it is.
_SHORTEST_SECONDS = 0.25
_MINUTE, _HOUR = 60, 3_600


@dataclass(slots=True)
class Meter:
    """Takes totals (documents read, rows and bytes written) and gives rates, from the first totals it saw on.

    `total` is the preliminary number of documents to read, None when it is not known; `began` is when nothing had been
    read yet, if rates count from then on.
    """

    total: int | None = None
    clock: Callable[[], float] = time.monotonic
    read: int = 0
    rows: int = 0
    bytes: int = 0
    began: InitVar[float | None] = None
    _start: tuple[float, int, int] | None = field(default=None)

    def __post_init__(self, began: float | None) -> None:
        self._start = None if began is None else (began, 0, 0)

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


@dataclass(slots=True)
class ProgressLog:
    """Writes to a log how far an export is, about every second or every twentieth of the way.

    `expected` is the preliminary number of documents to read, None when it is not known. Rates are those since `since`,
    by `clock`; without it, since the first totals.
    """

    write: Callable[[str], object]
    expected: int | None
    clock: Callable[[], float] = time.monotonic
    since: float | None = None
    _now: float = field(default=0)
    _meter: Meter | None = field(default=None)
    _written: float = field(default=0)
    _written_read: int = field(default=0)

    def __call__(self, read: int, rows: int, size: int) -> None:
        """Take documents read, rows and bytes written so far."""
        self._now = self.clock()
        if self._meter is None:
            self._meter, self._written = Meter(self.expected, lambda: self._now, began=self.since), self._now
        self._meter.update(read, rows, size)
        if self._is_due(self._now - self._written, read):
            self._written, self._written_read = self._now, read
            self.write(self._meter.line())

    def _is_due(self, seconds: float, read: int) -> bool:
        if seconds >= _LINE_SECONDS or self.expected is None:
            return seconds >= _LINE_SECONDS
        if self._written_read < self.expected <= read:
            return True
        return seconds >= _SHORTEST_SECONDS and read - self._written_read >= self.expected * _LINE_SHARE


def duration(seconds: float) -> str:
    """Write a length of time as ``0:07``, ``12:34`` or ``1:02:03``."""
    whole = round(seconds)
    minutes, rest = divmod(whole, _MINUTE)
    if whole < _HOUR:
        return f"{minutes}:{rest:02}"
    return f"{whole // _HOUR}:{minutes % _MINUTE:02}:{rest:02}"
