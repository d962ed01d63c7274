"""Pausing the queue, resuming it, and waiting until it is drained: what an operator does around a maintenance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.errors import QueueBusy
from vfexport_core.mongo.retry import DEFAULT_LIMITS
from vfexport_core.queue.audit import AuditAction
from vfexport_core.queue.pause import DRAIN_LAG_SECONDS
from vfexport_core.queue.statistics.depth import read_depth

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.mongo.retry import RetryLimits
    from vfexport_core.queue.audit import Actor
    from vfexport_core.queue.models import Export
    from vfexport_core.queue.pause import Pause
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.queue.statistics.depth import QueueDepth
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.services.claim import WaitPolicy


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """How many exports wait, and for how long; which one runs."""

    depth: QueueDepth
    running: Export | None

    @property
    def paused(self) -> Pause | None:
        return self.depth.pause


def read_status(queue: ExportRepository, limits: RetryLimits = DEFAULT_LIMITS) -> QueueStatus:
    """Return how the queue stands; raises SourceUnavailable."""
    return QueueStatus(read_depth(queue.database, limits), queue.running())


def pause(backend: Backend, reason: str | None, by: Actor) -> None:
    """Let nothing begin until somebody resumes; raises SourceUnavailable."""
    with backend.audit.noted(by, AuditAction.PAUSE, None):
        backend.queue.pause.begin(reason, by.subject)


def resume(backend: Backend, by: Actor) -> None:
    """Let exports begin again; harmless when the queue is open. Raises SourceUnavailable."""
    with backend.audit.noted(by, AuditAction.RESUME, None):
        backend.queue.pause.end()


def drain(
    queue: ExportRepository,
    policy: WaitPolicy,
    on_wait: Callable[[Export], object],
    *,
    lag_seconds: float = DRAIN_LAG_SECONDS,
) -> None:
    """Wait until nothing runs in a queue that is paused; what is late or lost is ended meanwhile.

    `on_wait` is told what runs, at every look. Raises QueueBusy when the queue is resumed meanwhile, or after as long
    as `policy` says; SourceUnavailable.
    """
    began = policy.clock()
    while True:
        pause, running = queue.pause.read(), queue.running()
        if pause is None:
            raise QueueBusy("the queue was resumed before it was drained")
        if running is None and pause.seconds >= lag_seconds:
            return
        if running is not None:
            on_wait(running)
            if queue.reaper.reap(policy.timeout_millis) is not None:
                continue
        if policy.clock() - began >= policy.most_seconds:
            raise QueueBusy(
                f"export {running.id} is still TRIGGERED" if running else "the pause has only just begun",
                payload=running and running.id,
            )
        policy.sleep(policy.interval_seconds)
