"""The runs of an orchestrator, as the use cases see them, and what these need of whatever runs the exports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, Self

from vfexport_core.services.run_tags import LOST, WITHDRAWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vfexport_core.queue.models import Export
    from vfexport_core.services.launch import Launch
    from vfexport_core.services.run_tags import RunTags


class RunState(Enum):
    """How far a run is, as its orchestrator has it."""

    WAITING = "waiting"
    BEGUN = "begun"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as its orchestrator has it.

    `export_id` is "" until the run knows its export; `requested_attempt` is None for what a person started. `was_lost`:
    it was reported so, see `report_lost`. `was_withdrawn`: it ended before its claim without fault of its own or its
    export's. `launch` is what a person launched a run for that waits and has no place in the queue yet. `is_stopping`:
    it was told to stop, and how it ends is for the orchestrator to say. `process` is where a run works that exports
    nothing, as far as it is known; None for the run of an export.
    """

    run_id: str
    state: RunState
    export_id: str
    requested_attempt: int | None
    was_lost: bool = False
    was_withdrawn: bool = False
    launch: Launch | None = None
    is_stopping: bool = False
    process: str | None = None

    @classmethod
    def from_tags(cls, about: RunTags, state: RunState, export_type: str, *, is_stopping: bool = False) -> Self:
        """Return what a run's tags say of it; its job is for exports of that type ("" for another job)."""
        launch = None
        if state is RunState.WAITING and about.is_launched:
            from vfexport_core.services.launch import Launch  # noqa: PLC0415 it loads a driver

            launch = Launch.from_config(export_type, about.config)
        return cls(
            run_id=about.run_id,
            state=state,
            export_id=about.export_id,
            requested_attempt=about.requested_attempt,
            was_lost=LOST in about.tags,
            was_withdrawn=WITHDRAWN in about.tags,
            launch=launch,
            is_stopping=is_stopping,
            process=about.process,
        )


class Orchestrator(Protocol):
    """What reconciling needs of whatever runs the exports."""

    def live_runs(self) -> Iterable[Run]:
        """Return the runs that wait or have begun, oldest first: of exports, and others that note their process."""
        ...

    def requested_runs(self, exports: Sequence[Export]) -> Iterable[Run]:
        """Return every run that was requested for one of these exports, whatever became of it, latest first."""
        ...

    def cancel_waiting(self, run: Run, why: str) -> None:
        """Take a run that has not begun out of the orchestrator's queue; its export stays as it is."""
        ...

    def place(self, run: Run, export: Export | None, seconds: float) -> None:
        """Have a run that a person launched wait in the place of its export, which may take so many seconds.

        Without an export: in the place of one that was asked for when the run was launched.
        """
        ...

    def tell(self, run: Run, text: str) -> None:
        """Report to whoever looks at a run that has not begun."""
        ...

    def report_lost(self, run: Run, why: str) -> None:
        """Record a run that has begun as failed, so that others can begin; its process is told nothing.

        To have it stopped would mean to wait for a process that may be stopped or gone.
        """
        ...
