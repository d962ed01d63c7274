"""Dagster's run queue, but that a queued run is launched as soon as its place is free.

Dagster's daemon looks into the queue at an interval of whole seconds. While runs wait because as many as may be are in
progress, it looks here every tenth of a second whether one has ended, which is one count in Dagster's storage; as
soon as that is so the queue is looked into. At all other times it is Dagster's own loop, with that one count more at
each look.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from vfexport_dagster.startup.known import is_wanted

if TYPE_CHECKING:
    from collections.abc import Generator
    from threading import Event
    from types import TracebackType

    from dagster._core.workspace.context import IWorkspaceProcessContext
    from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

_QUEUED = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
_IN_PROGRESS = dg.RunsFilter(
    statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
)
_SWITCH = "PROMPT_DEQUEUING"
LOOK_SECONDS = 0.1
"""How often to look whether a run has ended, while others wait for that."""
_STEP_SECONDS = 0.5
"""How often Dagster's own loop notices that it is to end, or has to write a heartbeat."""


class PromptRunCoordinator(QueuedRunCoordinator):
    """Dagster's own run queue, whose daemon launches the next run when one ends rather than at its next look.

    Switched off, or with a Dagster that is not known, it is Dagster's own altogether.
    """

    @property
    def dequeue_interval_seconds(self) -> int:
        """The interval that is configured; the daemon asks when it makes the loop that dequeues."""
        if is_wanted(_SWITCH):
            from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon  # noqa: PLC0415 the daemon's alone

            from vfexport_dagster.startup import shortcuts  # noqa: PLC0415 as above

            shortcuts.read_migrations_once()
            setattr(QueuedRunCoordinatorDaemon, "core_loop", core_loop)  # noqa: B010 it is a method of the class
        return super().dequeue_interval_seconds


def core_loop(
    daemon: QueuedRunCoordinatorDaemon, workspace_process_context: IWorkspaceProcessContext[Any], shutdown_event: Event
) -> Generator[Any]:
    """Dequeue for ever, as the daemon's own loop does, but for how long it waits between two looks into the queue.

    Yields as often as that: an error that was met, else None.
    """
    instance = workspace_process_context.instance
    while True:
        look_at = time.monotonic() + daemon.interval_seconds
        is_awaited = False
        try:
            yield from daemon.run_iteration(workspace_process_context)
            is_awaited = _is_full(instance) and instance.get_runs_count(_QUEUED) > 0
        except Exception as error:  # noqa: BLE001 whatever it is, the next look may go well
            yield _reported(daemon, error)
        while time.monotonic() < look_at:
            shutdown_event.wait(LOOK_SECONDS if is_awaited else _STEP_SECONDS)
            yield None
            try:
                if is_awaited and not _is_full(instance):
                    break
            except Exception as error:  # noqa: BLE001 as above
                is_awaited = False
                yield _reported(daemon, error)
        yield None


def _is_full(instance: dg.DagsterInstance) -> bool:
    """Return whether as many runs are in progress as may be, so that the queued ones wait for one to end."""
    queue = instance.get_concurrency_config().run_queue_config
    return queue is not None and 0 < queue.max_concurrent_runs <= instance.get_runs_count(_IN_PROGRESS)


def _reported(daemon: QueuedRunCoordinatorDaemon, error: Exception) -> Any:
    """Log an error as Dagster's own loop does, and return it in the form that its caller keeps."""
    from dagster._utils.error import serializable_error_info_from_exc_info  # noqa: PLC0415 the daemon's alone

    info = serializable_error_info_from_exc_info((type(error), error, cast("TracebackType", error.__traceback__)))
    logging.getLogger(f"dagster.daemon.{type(daemon).__name__}").error("Caught error:\n%s", info)
    return info
