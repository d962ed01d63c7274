"""How soon a queued run is launched once it may be. Loaded by every process of Dagster, so it imports little."""

from __future__ import annotations

from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from vfexport_dagster.startup.switches import PROMPT_DEQUEUING, is_on

_STEP_SECONDS = 0.5


class PromptRunCoordinator(QueuedRunCoordinator):
    """Dagster's own run queue, looked into as often as its daemon can: every half second.

    Configured, the interval is a whole number of seconds; the daemon, however, waits in steps of half a second.
    Switched off, or with a Dagster that is not known, the interval is what the configuration says.
    """

    @property
    def dequeue_interval_seconds(self) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _STEP_SECONDS if is_on(PROMPT_DEQUEUING) else super().dequeue_interval_seconds
