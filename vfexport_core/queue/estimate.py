"""When a PENDING export may start: what runs, what waits before it, and how long such exports took of late."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vfexport_core.queue.models import Export
    from vfexport_core.queue.reading import ExportReader

BETWEEN_SECONDS = 2.0
"""From one export's end to the next one's start."""
UNKNOWN_SECONDS = 30.0
"""How long an export takes of which nothing is known."""
_RECENT = 100


@dataclass(frozen=True, slots=True)
class Estimate:
    """`position` is 1 for the export that comes next; seconds are a guess and not a promise."""

    position: int
    starts_in_seconds: int


def estimate(reader: ExportReader, export: Export) -> Estimate | None:
    """Guess when a PENDING export starts; None for any other. Raises SourceUnavailable."""
    if export.status is not ExportStatus.PENDING:
        return None
    ahead = reader.types_ahead(export)
    running = reader.running()
    typical = typical_seconds(reader.list(status=ExportStatus.FINISHED, limit=_RECENT))
    return Estimate(sum(ahead.values()) + 1, math.ceil(_wait_seconds(ahead, running, typical)))


def typical_seconds(finished: Iterable[Export]) -> dict[str, float]:
    """Give the median duration of each type; under "" that of all."""
    durations: dict[str, list[float]] = defaultdict(list)
    for export in finished:
        if export.date.triggered is not None and export.date.finished is not None:
            seconds = (export.date.finished - export.date.triggered).total_seconds()
            durations[export.export_type].append(seconds)
            durations[""].append(seconds)
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
    elapsed = (progress.updated - started).total_seconds()
    if running.count and progress.read:
        return elapsed * max(0, running.count - progress.read) / progress.read
    return max(0.0, typical - elapsed)
