"""Dagster's run queue, but that a queued run is launched as soon as its place is free.

Dagster's daemon looks into the queue at an interval of whole seconds. While runs wait because as many as may be are in
progress, it looks here every tenth of a second whether one has ended, which is one count in Dagster's storage; as
soon as that is so the queue is looked into. All else is Dagster's own loop, with that one count more at each look.
"""

from __future__ import annotations

import functools
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator
from dagster._core.storage.dagster_run import ACTIVE_RUN_STATUSES

from vfexport_dagster.startup.known import is_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from dagster._core.workspace.context import IWorkspaceProcessContext
    from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

_QUEUED = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
_IN_PROGRESS = dg.RunsFilter(statuses=ACTIVE_RUN_STATUSES)
_SWITCH = "PROMPT_DEQUEUING"
LOOK_SECONDS = 0.1
"""How often to look whether a run has ended, while others wait for that."""


class PromptRunCoordinator(QueuedRunCoordinator):
    """Dagster's own run queue, whose daemon launches the next run when one ends rather than at its next look.

    Switched off, or with a Dagster that is not known, it is Dagster's own altogether.
    """

    @classmethod
    def from_config_value(cls, *configuration: Any, **named: Any) -> Self:
        """Return it as an instance's configuration says, of which a process that is to be the daemon asks first."""
        if is_wanted(_SWITCH):
            dequeue_promptly()
        return super().from_config_value(*configuration, **named)


def dequeue_promptly() -> None:
    """Have this process, if it comes to be Dagster's daemon, launch a run when one ends; harmless to repeat."""
    from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon  # noqa: PLC0415 loads much, for one process

    from vfexport_dagster.startup import shortcuts  # noqa: PLC0415 as above

    shortcuts.make_engines_once()
    shortcuts.read_migrations_once()
    look = QueuedRunCoordinatorDaemon.run_iteration
    setattr(QueuedRunCoordinatorDaemon, "run_iteration", promptly(getattr(look, "__wrapped__", look)))  # noqa: B010


def promptly(look: Callable[..., Generator[Any]]) -> Callable[..., Generator[Any]]:
    """Return a look into the queue after which the next one follows as soon as a run ends for which others wait.

    At the daemon's interval it looks all the same. It yields as often as the daemon has to write a heartbeat, or to
    notice that it is to end; an error of Dagster's storage is for the daemon's own loop.
    """

    @functools.wraps(look)
    def look_while_runs_wait(
        daemon: QueuedRunCoordinatorDaemon, context: IWorkspaceProcessContext[Any], *options: Any
    ) -> Generator[Any]:
        is_awaited = True
        while is_awaited:
            next_look = monotonic() + daemon.interval_seconds
            yield from look(daemon, context, *options)
            is_awaited = _is_full(context.instance) and context.instance.get_runs_count(_QUEUED) > 0
            while is_awaited:
                sleep(LOOK_SECONDS)
                yield None
                if monotonic() >= next_look or not _is_full(context.instance):
                    break

    return look_while_runs_wait


def _is_full(instance: dg.DagsterInstance) -> bool:
    """Return whether as many runs are in progress as may be, so that the queued ones wait for one to end."""
    queue = instance.get_concurrency_config().run_queue_config
    return queue is not None and 0 < queue.max_concurrent_runs <= instance.get_runs_count(_IN_PROGRESS)
