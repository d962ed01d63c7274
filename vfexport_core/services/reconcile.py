"""Where an orchestrator's runs and the queue's exports drift apart, and what is done about it (L4, L5).

What one side has done, the other mostly hears of by itself: drift is acted on when it has lasted for a while. Several
who reconcile, or one that is interrupted anywhere, do no harm.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from vfexport_core.errors import ExportNotFound, RunFailed, WorkerLost
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vfexport_core.queue.models import Attempt, Export
    from vfexport_core.queue.repository import ExportRepository

FINISHING_SECONDS = 60.0
"""A run that has finished, or knows that its export is over, ends by itself, or is ended by its worker."""
LOST_SECONDS = 3.0
"""A run that is not heard of any more does not."""
CLAIMING_SECONDS = 30.0
"""A run that has begun claims its export, or fails, within seconds once no other is running."""
REQUESTING_SECONDS = 30.0
"""A run that ended before it claimed its export is mostly recorded as its end (`record_run_end`) by then."""
MOST_RUNS = 3
"""After so many runs that ended before they claimed an export, there is something wrong with its runs."""
AHEAD = 25
"""So many exports wait in the orchestrator's own queue, where the next one begins without anybody's help."""


class RunState(Enum):
    """How far a run is, as its orchestrator has it."""

    WAITING = "waiting"
    BEGUN = "begun"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as its orchestrator has it.

    `export_id` is "" until the run knows its export; `requested_attempt` is None for what a person started; `ended` is
    in seconds since the epoch, by the orchestrator's clock. `was_lost`: it was reported so, see `report_lost`.
    """

    run_id: str
    state: RunState
    export_id: str
    requested_attempt: int | None
    ended: float | None = None
    was_lost: bool = False


class Orchestrator(Protocol):
    """What reconciling needs of whatever runs the exports."""

    def live_runs(self) -> Iterable[Run]:
        """Return the runs of exports that wait or have begun, oldest first."""
        ...

    def requested_runs(self, exports: Sequence[Export]) -> Iterable[Run]:
        """Return every run that was requested for one of these exports, whatever became of it, latest first."""
        ...

    def cancel_waiting(self, run: Run, why: str) -> None:
        """Take a run that has not begun out of the orchestrator's queue."""
        ...

    def report_lost(self, run: Run, why: str) -> None:
        """Record a run that has begun as failed, so that others can begin; its process is told nothing.

        To have it stopped would mean to wait for a process that may be stopped or gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Drift:
    """A run whose export needs it no longer, and why; it is acted on when it has lasted for `grace_seconds`."""

    why: str
    grace_seconds: float


@dataclass(slots=True)
class Requests:
    """The runs that were requested for PENDING exports, by export and attempt."""

    exports: Sequence[Export]
    runs: dict[tuple[str, int | None], list[Run]]

    @classmethod
    def of(cls, orchestrator: Orchestrator, exports: Sequence[Export]) -> Requests:
        runs: dict[tuple[str, int | None], list[Run]] = defaultdict(list)
        for run in orchestrator.requested_runs(exports) if exports else ():
            runs[run.export_id, run.requested_attempt].append(run)
        return cls(exports, runs)

    def of_export(self, export: Export) -> list[Run]:
        return self.runs.get((export.id, export.attempt), [])

    def due(self, export: Export, now: float) -> bool:
        """Return whether a PENDING export needs a run: it has none that lives, and none that ended just now."""
        runs = self.of_export(export)
        if len(runs) >= MOST_RUNS or any(run.state is not RunState.ENDED for run in runs):
            return False
        return all(run.was_lost or now - (run.ended or 0.0) >= REQUESTING_SECONDS for run in runs)

    def given_up(self, export: Export) -> Run | None:
        """Return the last of the runs of an export that always end before they claim it, if they do."""
        runs = self.of_export(export)
        has_failed = len(runs) >= MOST_RUNS and all(run.state is RunState.ENDED for run in runs)
        return runs[0] if has_failed else None


@dataclass
class Reconciler:
    """One look at both sides; `since` is when the drift of each run was first seen, in seconds."""

    orchestrator: Orchestrator
    queue: ExportRepository
    since: dict[str, float]
    clock: Callable[[], float] = time.time
    _seen: dict[str, float] = field(default_factory=dict[str, float])

    def look(self) -> Iterator[str]:
        """Act on what has lasted, and yield what was done; afterwards `since` has what has yet to be acted on."""
        yield from self._end_needless_runs()
        yield from self._fail_hopeless_exports()
        self.since = self._seen

    def _lasted(self, name: str) -> float:
        """Return how long something has been seen, from its first sight on; a clock set back starts it anew."""
        now = self.clock()
        first = self._seen[name] = min(now, self.since.get(name, now))
        return now - first

    def _end_needless_runs(self) -> Iterator[str]:
        is_busy = self.queue.running() is not None
        for run in self.orchestrator.live_runs():
            drift = drift_of(run, self._export_of(run), is_busy=is_busy)
            if drift is None or self._lasted(run.run_id) < drift.grace_seconds:
                continue
            if run.state is RunState.WAITING:
                self.orchestrator.cancel_waiting(run, drift.why)
                yield f"run {run.run_id} cancelled: {drift.why}"
            else:
                self.orchestrator.report_lost(run, drift.why)
                yield f"run {run.run_id} reported as failed: {drift.why}"

    def _export_of(self, run: Run) -> Export | None:
        try:
            return self.queue.get(run.export_id)
        except ExportNotFound:
            return None

    def _fail_hopeless_exports(self) -> Iterator[str]:
        requests = Requests.of(self.orchestrator, self.queue.pending(AHEAD))
        for export in requests.exports:
            last = requests.given_up(export)
            if last is None or self._lasted(export.id) < REQUESTING_SECONDS:
                continue
            error = RunFailed("its runs end before they claim it", payload=last.run_id)
            if self.queue.close_run(export.id, last.run_id, ExportStatus.FAILED, error.as_dict(), export.attempt):
                yield f"{export.id} FAILED: {error.message}"


def drift_of(run: Run, export: Export | None, *, is_busy: bool) -> Drift | None:
    """Return why a run that waits or has begun is needed no longer, or is one in name only; None if it is needed.

    `export` is the one that it is for, if there is such a one; `is_busy`: some export is TRIGGERED.
    """
    if run.state is RunState.WAITING:
        return _drift_of_waiting(run, export)
    if export is None:
        return None if is_busy else Drift("it has begun, and has no export", FINISHING_SECONDS)
    mine = next((entry for entry in export.attempts if entry.run_id == run.run_id), None)
    if mine is None:
        # Whoever waits for its turn looks all the time, so this one does not live.
        why = f"it has not claimed export {export.id}, although none is running"
        return None if is_busy else Drift(why, CLAIMING_SECONDS)
    if mine.ended is None:
        return None
    grace = LOST_SECONDS if _was_lost(export, mine) else FINISHING_SECONDS
    return Drift(f"its attempt {mine.attempt} of export {export.id} is {mine.status}", grace)


def _drift_of_waiting(run: Run, export: Export | None) -> Drift | None:
    if run.requested_attempt is None:
        return None  # what a person started says itself what is in its way
    if export is None:
        return Drift("its export is gone", 0.0)
    if export.attempt == run.requested_attempt and export.status is ExportStatus.PENDING:
        return None
    return Drift(f"export {export.id} is {export.status} in attempt {export.attempt}", 0.0)


def _was_lost(export: Export, attempt: Attempt) -> bool:
    """Return whether an attempt ended because, or when, its worker had not been heard of for a lease."""
    if attempt.error is not None and attempt.error.get("code") == WorkerLost.code:
        return True
    if attempt.attempt != export.attempt or attempt.ended is None or export.lease_until is None:
        return False
    return export.lease_until <= attempt.ended
