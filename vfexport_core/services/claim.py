"""How whoever runs exports comes to own one: it waits for its turn, and takes it (L2)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.errors import QueueBusy

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.queue.models import Claim, Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.settings import Settings

# Of those that wait before an export as many are counted.
_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class WaitPolicy:
    """How often to look whether the queue is free, and for how long at most; both in seconds.

    `timeout_millis` is how long the export that is waited for may run: if it is late or lost, whoever waits ends it.
    """

    interval_seconds: float
    timeout_millis: int
    most_seconds: float = math.inf
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def from_settings(cls, settings: Settings, *, most_seconds: float = math.inf) -> WaitPolicy:
        return cls(settings.polling_interval_millis / 1_000, settings.timeout_millis, most_seconds)


def claim_in_turn(
    queue: ExportRepository,
    take: Callable[[], tuple[Claim, Export]],
    policy: WaitPolicy,
    on_wait: Callable[[str], object],
) -> tuple[Claim, Export]:
    """Return what `take` returns, called again as long as the queue is busy.

    `on_wait` is told what is in the way, each thing once. Raises what `take` raises; QueueBusy after `most_seconds`.
    """
    began, told = policy.clock(), ""
    while True:
        try:
            return take()
        except QueueBusy as busy:
            # What is waited for may be dead.
            if queue.reaper.reap(policy.timeout_millis) is not None:
                continue
            if policy.clock() - began >= policy.most_seconds:
                raise
            if busy.message != told:
                told = busy.message
                on_wait(told)
        policy.sleep(policy.interval_seconds)


def check_is_next(queue: ExportRepository, export_id: str) -> None:
    """Raise QueueBusy while older exports are PENDING: for whoever has to see to the order of the queue himself.

    An export that is not PENDING itself is not held up here.
    """
    waiting = [export.id for export in queue.pending(_COUNTED)]
    ahead = waiting.index(export_id) if export_id in waiting else len(waiting)
    if ahead and (export_id in waiting or ahead == _COUNTED):
        raise QueueBusy(f"{ahead} exports were asked for before this one", payload=waiting[0])
