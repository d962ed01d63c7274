"""Where an orchestrator's runs and the queue's exports drift apart, and what is done about it (L4, L5).

What one side has done, the other mostly hears of by itself: drift is acted on when it has lasted for a while. Several
who reconcile, or one that is interrupted anywhere, do no harm.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfexport_core.errors import ExportNotFound, RunFailed, WorkerLost
from vfexport_core.queue.claim_process import is_gone
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services.orchestrator_runs import RunState
from vfexport_core.services.record_run_end import RunEnd, record_run_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vfexport_core.queue.breakers import OpenBreaker
    from vfexport_core.queue.models import Attempt, Export
    from vfexport_core.queue.pause import Pause
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.services.orchestrator_runs import Orchestrator, Run

FINISHING_SECONDS = 60.0
"""A run that has finished ends by itself."""
ENDING_SECONDS = 20.0
"""So does one that knows that its attempt has failed; what it could not clean up in that time is left to the reaper."""
LOST_SECONDS = 3.0
"""A run that is not heard of any more does not."""
GONE_SECONDS = 3.0
"""Of a run whose process has ended the orchestrator hears, if anything is there to tell it."""
CLAIMING_SECONDS = 30.0
"""A run that has begun claims its export, or fails, within seconds once no other is running."""
REQUESTING_SECONDS = 30.0
"""A run that ended before it claimed its export is mostly recorded as its end (`record_run_end`) by then."""
MOST_RUNS = 3
"""After so many runs that ended before they claimed an export, there is something wrong with its runs."""
AHEAD = 25
"""So many exports wait in the orchestrator's own queue, where the next one begins without anybody's help."""
_GONE = "its process is gone"


@dataclass(frozen=True, slots=True)
class Drift:
    """A run whose export needs it no longer, and why; it is acted on when it has lasted for `grace_seconds`.

    `holds`: its export still waits for it, and ends with it.
    """

    why: str
    grace_seconds: float
    holds: bool = False


@dataclass(slots=True)
class Sightings:
    """For how long things have been seen, by one clock of this process.

    What others say of when something happened is by clocks that may be minutes off. Kept for as long as the process
    lives; a new one begins anew, and waits once more.
    """

    clock: Callable[[], float] = time.monotonic
    _first: dict[str, float] = field(default_factory=dict[str, float])
    _seen: set[str] = field(default_factory=set[str])

    def lasted(self, name: str) -> float:
        """Return for how many seconds something has been seen; a clock that is set back starts it anew."""
        now = self.clock()
        self._seen.add(name)
        first = self._first[name] = min(now, self._first.get(name, now))
        return now - first

    def forget_unseen(self) -> None:
        """Forget what has not been seen since the last call: seen again, it starts anew."""
        self._first = {name: first for name, first in self._first.items() if name in self._seen}
        self._seen = set()

    def names(self) -> list[str]:
        return sorted(self._first)


@dataclass(slots=True)
class RunRequests:
    """The runs that were requested for PENDING exports, by export and attempt."""

    exports: Sequence[Export]
    runs: dict[tuple[str, int | None], list[Run]]

    @classmethod
    def of(cls, orchestrator: Orchestrator, exports: Sequence[Export]) -> RunRequests:
        runs: dict[tuple[str, int | None], list[Run]] = defaultdict(list)
        for run in orchestrator.requested_runs(exports) if exports else ():
            runs[run.export_id, run.requested_attempt].append(run)
        return cls(exports, runs)

    def of_export(self, export: Export) -> list[Run]:
        return self.runs.get((export.id, export.attempt), [])

    def _ran(self, export: Export) -> list[Run]:
        return [run for run in self.of_export(export) if not run.was_withdrawn]

    def due(self, export: Export, ended: Sightings) -> bool:
        """Return whether a PENDING export needs a run: it has none that lives, and none that ended just now."""
        runs = self._ran(export)
        if len(runs) >= MOST_RUNS or any(run.state is not RunState.ENDED for run in runs):
            return False
        # All are looked at: the time of each begins with its first sight.
        seconds = [ended.lasted(run.run_id) for run in runs if not run.was_lost]
        return all(lasted >= REQUESTING_SECONDS for lasted in seconds)

    def given_up(self, export: Export) -> Run | None:
        """Return the last of the runs of an export that always end before they claim it, if they do."""
        runs = self._ran(export)
        has_failed = len(runs) >= MOST_RUNS and all(run.state is RunState.ENDED for run in runs)
        return runs[0] if has_failed else None


@dataclass
class Reconciler:
    """Looks at both sides; `drift` is what each look leaves for the next."""

    orchestrator: Orchestrator
    backend: Backend
    drift: Sightings

    @property
    def queue(self) -> ExportRepository:
        return self.backend.queue

    def look(self) -> Iterator[str]:
        """Act on what has lasted, and yield what was done."""
        live = [*self.orchestrator.live_runs()]
        runs = [run for run in live if run.process is None]
        for run in runs:
            if run.launch is not None:
                from vfexport_core.services.place_launched import place_launched  # noqa: PLC0415 it loads a driver

                yield place_launched(run, run.launch, self.backend, self.orchestrator)
        yield from self._end_needless_runs(run for run in runs if run.launch is None)
        yield from self._end_gone_runs(run for run in live if run.process is not None)
        yield from self._fail_hopeless_exports()
        self.drift.forget_unseen()

    def _end_needless_runs(self, runs: Iterable[Run]) -> Iterator[str]:
        pause = self.queue.pause.read()
        is_busy = pause is not None or self.queue.running() is not None
        waiting = self.queue.breakers.waiting_types()
        for run in runs:
            export = self._export_of(run)
            drift = drift_of(run, export, is_busy=is_busy)
            if drift is None and export is not None and run.state is RunState.WAITING:
                drift = _drift_of_held(run, pause or waiting.get(export.export_type))
            if drift is None or self.drift.lasted(run.run_id) < drift.grace_seconds:
                continue
            if run.state is RunState.WAITING:
                self.orchestrator.cancel_waiting(run, drift.why)
                yield f"run {run.run_id} cancelled: {drift.why}"
            else:
                if drift.holds:
                    record_run_end(self.queue, RunEnd(run_id=run.run_id, export_id=run.export_id, message=drift.why))
                self.orchestrator.report_lost(run, drift.why)
                yield f"run {run.run_id} reported as failed: {drift.why}"

    def _end_gone_runs(self, runs: Iterable[Run]) -> Iterator[str]:
        """End the runs without an export whose process is gone: they hold a place, and nobody else misses them."""
        for run in runs:
            is_lost = run.state is RunState.BEGUN and not run.is_stopping and is_gone(run.process)
            if is_lost and self.drift.lasted(run.run_id) >= GONE_SECONDS:
                self.orchestrator.report_lost(run, _GONE)
                yield f"run {run.run_id} reported as failed: {_GONE}"

    def _export_of(self, run: Run) -> Export | None:
        try:
            return self.queue.get(run.export_id)
        except ExportNotFound:
            return None

    def _fail_hopeless_exports(self) -> Iterator[str]:
        requests = RunRequests.of(self.orchestrator, self.queue.pending(AHEAD))
        for export in requests.exports:
            last = requests.given_up(export)
            if last is None or self.drift.lasted(export.id) < REQUESTING_SECONDS:
                continue
            error = RunFailed("its runs end before they claim it", payload=last.run_id)
            if self.queue.close_run(export.id, last.run_id, ExportStatus.FAILED, error.as_dict(), export.attempt):
                yield f"{export.id} FAILED: {error.message}"


def drift_of(run: Run, export: Export | None, *, is_busy: bool) -> Drift | None:
    """Return why a run that waits or has begun is needed no longer, or is one in name only; None if it is needed.

    `export` is the one that it is for, if there is such a one; `is_busy`: some export is TRIGGERED, or the
    queue is paused.
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
        is_lost = export.run_id == run.run_id and not run.is_stopping and is_gone(export.claim_id)
        return Drift(_GONE, GONE_SECONDS, holds=True) if is_lost else None
    grace = FINISHING_SECONDS if mine.status is ExportStatus.FINISHED else ENDING_SECONDS
    grace = LOST_SECONDS if _was_lost(export, mine) else grace
    return Drift(f"its attempt {mine.attempt} of export {export.id} is {mine.status}", grace)


def _drift_of_waiting(run: Run, export: Export | None) -> Drift | None:
    if run.requested_attempt is None:
        return None  # what a person started says itself what is in its way
    if export is None:
        return Drift("its export is gone", 0.0)
    if export.attempt == run.requested_attempt and export.status is ExportStatus.PENDING:
        return None
    return Drift(f"export {export.id} is {export.status} in attempt {export.attempt}", 0.0)


def _drift_of_held(run: Run, held_by: Pause | OpenBreaker | None) -> Drift | None:
    """Return why a run is not to begin that could only wait, with others behind it."""
    return None if held_by is None or run.requested_attempt is None else Drift(str(held_by), 0.0)


def _was_lost(export: Export, attempt: Attempt) -> bool:
    """Return whether an attempt ended because, or when, its worker had not been heard of for a lease."""
    if attempt.error is not None and attempt.error.get("code") == WorkerLost.code:
        return True
    if attempt.attempt != export.attempt or attempt.ended is None or export.lease_until is None:
        return False
    return export.lease_until <= attempt.ended
