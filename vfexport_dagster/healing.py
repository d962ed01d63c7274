"""Where Dagster's runs and the queue's exports disagree, and what is done about it (L4, L5).

Pure decisions on what was seen; `vfexport_dagster.sensors.watchdog` looks and acts. A disagreement is acted on when it
has lasted for a while: what one side has done, the other mostly hears of by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import dagster as dg

from vfexport_core.errors import WorkerLost
from vfexport_core.queue.models import ExportStatus
from vfexport_dagster import tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vfexport_core.queue.models import Attempt, Export

FINISHING_SECONDS = 60.0
"""A run that has finished, or knows that its export is over, ends by itself, or is ended by its worker."""
LOST_SECONDS = 3.0
"""A run that is not heard of any more does not."""
REQUESTING_SECONDS = 30.0
"""A run that ended before it claimed its export is mostly recorded as its end (``sensors/outcome``) by then."""
CLAIMING_SECONDS = 30.0
"""A run that has begun claims its export, or fails, within seconds once no other is running."""
LIVE = (
    *(dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING),
    *(dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING),
)
_WAITING = frozenset({dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED})


class Step(Enum):
    """What is to be done about a run.

    None is told to stop by Dagster's launcher: that waits for the run's process to take note, for ever if the process
    is stopped or gone, and the code server launches nothing meanwhile. A worker that lives ends by itself.
    """

    LEAVE = "leave"
    WITHDRAW = "withdraw"
    """It has not begun, and need not."""
    GIVE_UP = "give up"
    """It is recorded as failed, so that the run queue goes on; should its process come back, it is fenced off."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A run whose export needs it no longer, and why; `patience` is how long that may last, in seconds."""

    why: str
    patience: float


def disagreement(run: dg.DagsterRun, export: Export | None, *, is_busy: bool) -> Disagreement | None:
    """Say whether a run that is queued or running is needed no longer, or is one in name only.

    `export` is the one that its tags name, if there is such a one; `is_busy`: some export is TRIGGERED.
    """
    if run.status in _WAITING:
        return _disagreement_of_waiting(run, export)
    if export is None:
        if is_busy:
            return None
        return Disagreement("it has begun, and has no export", FINISHING_SECONDS)
    mine = next((entry for entry in export.attempts if entry.run_id == run.run_id), None)
    if mine is None:
        # Whoever waits for its turn looks all the time, so this one does not live.
        free = Disagreement(f"it has not claimed export {export.id}, although none is running", CLAIMING_SECONDS)
        return None if is_busy else free
    if mine.ended is None:
        return None
    patience = LOST_SECONDS if _was_lost(export, mine) else FINISHING_SECONDS
    return Disagreement(f"its attempt {mine.attempt} of export {export.id} is {mine.status}", patience)


def _was_lost(export: Export, attempt: Attempt) -> bool:
    """Whether an attempt ended because, or when, its worker had not been heard of for a lease."""
    if attempt.error is not None and attempt.error.get("code") == WorkerLost.code:
        return True
    if attempt.attempt != export.attempt or attempt.ended is None or export.lease_until is None:
        return False
    return export.lease_until <= attempt.ended


def _disagreement_of_waiting(run: dg.DagsterRun, export: Export | None) -> Disagreement | None:
    attempt = tags.requested_attempt(run.tags, is_reexecution=run.parent_run_id is not None)
    if attempt is None:
        return None  # what a person started says itself what is in its way
    if export is None:
        return Disagreement("its export is gone", 0.0)
    if export.attempt == attempt and export.status is ExportStatus.PENDING:
        return None
    return Disagreement(f"export {export.id} is {export.status} in attempt {export.attempt}", 0.0)


def step(run: dg.DagsterRun, found: Disagreement, lasted: float) -> Step:
    """Say what is to be done about a run whose disagreement has lasted so many seconds."""
    if lasted < found.patience:
        return Step.LEAVE
    return Step.WITHDRAW if run.status in _WAITING else Step.GIVE_UP


def lost_requests(exports: Sequence[Export], runs: Mapping[str, Sequence[dg.DagsterRun]]) -> list[Export]:
    """Give those PENDING exports whose requested runs (by run key) have all ended; none claimed its export."""
    return [
        export
        for export in exports
        if (requested := runs.get(tags.run_key(export))) and all(run.is_finished for run in requested)
    ]
