"""When a PENDING export may start and a TRIGGERED one end: by what runs and waits, and how long that took of late."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

from vfexport_core.errors import SourceUnavailable
from vfexport_core.queue.models import ExportStatus
from vfexport_core.telemetry.progress import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from vfexport_core.queue.breakers import OpenBreaker
    from vfexport_core.queue.models import Export
    from vfexport_core.queue.pause import Pause
    from vfexport_core.queue.repository import ExportRepository, Position

BETWEEN_SECONDS = 2.0
"""From one export's end to the next one's start."""
UNKNOWN_SECONDS = 30.0
"""How long an export takes of which nothing is known."""
_RECENT = 100
_RECENTLY = timedelta(days=7)
_TYPICAL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """`position` is 1 for the export that comes next; seconds are a guess and not a promise.

    `reason` is why it does not start whatever its position: the queue is paused, its bucket hangs (the seconds count
    from when that is over), or it is to be retried later.
    """

    position: int
    starts_in_seconds: int
    reason: str | None = None

    def __str__(self) -> str:
        when = f"starts in about {duration(self.starts_in_seconds)}"
        return f"position {self.position}, " + (when if self.reason is None else f"waits: {self.reason}")


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The queue at one moment, or why it could not be seen; `began` is when the look at it began."""

    began: float
    pending: Sequence[tuple[Position, str]] = ()
    running: Export | None = None
    waiting: Mapping[str, OpenBreaker] = field(default_factory=dict[str, "OpenBreaker"])
    pause: Pause | None = None
    error: SourceUnavailable | None = None


class Estimator:
    """Estimates for many callers at once: one of them looks at the queue, those who came before it did share its look.

    So that a thousand requests at a time cost MongoDB no more than a few, and each still sees the queue as it was not
    before it asked. How long exports take is looked up every `_TYPICAL_SECONDS`.
    """

    def __init__(self, repository: ExportRepository, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._repository = repository
        self._clock = clock
        self._lock = threading.Lock()
        self._last = _Snapshot(-math.inf)
        self._typical: Mapping[str, float] = {}
        self._typical_until = -math.inf

    def estimate(self, export: Export) -> Estimate | None:
        """Guess when a PENDING export starts; None for any other. Raises SourceUnavailable."""
        return self.estimates([export])[0]

    def estimates(self, exports: Sequence[Export]) -> list[Estimate | None]:
        """Guess the same of several, by one look at the queue; raises SourceUnavailable."""
        if not any(export.status is ExportStatus.PENDING for export in exports):
            return [None for _ in exports]
        came = self._clock()
        with self._lock:
            snapshot = self._last if self._last.began >= came else self._take_snapshot()
        if snapshot.error is not None:
            raise snapshot.error
        return [
            self._estimate(export, snapshot) if export.status is ExportStatus.PENDING else None for export in exports
        ]

    def _estimate(self, export: Export, snapshot: _Snapshot) -> Estimate:
        ahead = Counter(kind for position, kind in snapshot.pending if position < export.position)
        breaker = snapshot.waiting.get(export.export_type)
        passed = {kind: 0 if kind in snapshot.waiting else count for kind, count in ahead.items()}
        seconds = _wait_seconds(ahead if breaker else passed, snapshot.running, self._typical)
        reason = None if breaker is None else str(breaker)
        if snapshot.pause is not None:
            reason = snapshot.pause.for_callers
        if export.retry_at is not None and (pause := (export.retry_at - datetime.now(UTC)).total_seconds()) > 0:
            seconds, reason = max(seconds, pause), reason or export.retry_reason
        return Estimate(ahead.total() + 1, math.ceil(seconds), reason)

    def ends_in_seconds(self, export: Export) -> int | None:
        """Guess in how many seconds a TRIGGERED export ends; None for any other, and where nothing tells.

        Raises SourceUnavailable.
        """
        if export.status is not ExportStatus.TRIGGERED:
            return None
        with self._lock:
            self._look_up_typical(self._clock())
            usual = self._typical.get(export.export_type, self._typical.get(""))
        if usual is None and _seconds_at_its_pace(export) is None:
            return None
        return math.ceil(_remaining_seconds(export, usual or 0.0))

    def _look_up_typical(self, now: float) -> None:
        if now >= self._typical_until:
            since = datetime.now(UTC) - _RECENTLY
            self._typical = typical_seconds(self._repository.durations_since(since, _RECENT))
            self._typical_until = now + _TYPICAL_SECONDS

    def _take_snapshot(self) -> _Snapshot:
        began = self._clock()
        try:
            self._look_up_typical(began)
            queue = self._repository
            self._last = _Snapshot(
                began,
                queue.pending_positions(),
                queue.running(),
                queue.breakers.waiting_types(),
                queue.pause.read(),
            )
        except SourceUnavailable as error:
            self._last = _Snapshot(began, error=error)
        return self._last


def typical_seconds(finished: Iterable[tuple[str, timedelta]]) -> dict[str, float]:
    """Return the median duration of each type; under "" that of all."""
    durations: dict[str, list[float]] = defaultdict(list)
    for export_type, length in finished:
        durations[export_type].append(length.total_seconds())
        durations[""].append(length.total_seconds())
    return {export_type: median(seconds) for export_type, seconds in durations.items()}


def _wait_seconds(ahead: Mapping[str, int], running: Export | None, typical: Mapping[str, float]) -> float:
    usual = typical.get("", UNKNOWN_SECONDS)
    wait = sum(count * (typical.get(export_type, usual) + BETWEEN_SECONDS) for export_type, count in ahead.items())
    if running is None:
        return wait
    return wait + BETWEEN_SECONDS + _remaining_seconds(running, typical.get(running.export_type, usual))


def _remaining_seconds(running: Export, typical: float) -> float:
    """Go by the run's own pace where it is known, else by how long its type takes."""
    progress, started = running.progress, running.date.triggered
    if progress is None or progress.updated is None or started is None:
        return typical
    at_its_pace = _seconds_at_its_pace(running)
    return max(0.0, typical - (progress.updated - started).total_seconds()) if at_its_pace is None else at_its_pace


def _seconds_at_its_pace(running: Export) -> float | None:
    """Return how long the rest takes if it goes on as it began; None while that is unknown."""
    progress, started = running.progress, running.date.triggered
    if progress is None or progress.updated is None or started is None or not (running.count and progress.read):
        return None
    elapsed = (progress.updated - started).total_seconds()
    return elapsed * max(0, running.count - progress.read) / progress.read
