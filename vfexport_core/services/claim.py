"""How whoever runs exports comes to own one: it waits for its turn, and takes it (L2, L8, L9)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.errors import ExportNotClaimable, QueueBusy, QueuePaused
from vfexport_core.queue.models import ACTIVE, ExportStatus
from vfexport_core.services.hanging_buckets import check_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

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


@dataclass(frozen=True, slots=True)
class Turn:
    """The wait of a run for its turn. `on_wait` is told what is in the way, each thing once.

    Whoever waits ends what is late or lost, so that nobody waits for the dead. What it waits for is that no export is
    TRIGGERED and the queue is not paused; raises QueueBusy when that is in vain.
    """

    queue: ExportRepository
    run_id: str
    policy: WaitPolicy
    on_wait: Callable[[str], object]
    probe: Callable[[], Iterable[str]] = tuple
    """Looks whether a bucket that hangs answers again, and says what came of it; see `probe_due`."""
    waits_while_paused: bool = True
    """Whether to wait for somebody to resume a queue that is paused; if not, QueuePaused is raised at once."""

    def claim(self, export_id: str, attempt: int | None = None) -> tuple[Claim, Export]:
        """Claim a PENDING export (with `attempt`: in that attempt), for whom somebody else sees to the order.

        Raises ExportNotClaimable when it is not PENDING.
        """
        return self._when_free(lambda: self.queue.claim(export_id, self.run_id, attempt))

    def claim_oldest_first(self, export_id: str) -> tuple[Claim, Export]:
        """Claim a PENDING export when no older one is PENDING either; raises ExportNotClaimable as `claim` does.

        Those that wait for a bucket that hangs, or are to be retried later, are passed over; so must this one then.
        """

        def take() -> tuple[Claim, Export]:
            self.queue.pause.check()  # before any other reason to wait
            for told in self.probe():
                self.on_wait(told)
            self._check_is_oldest(export_id)
            return self.queue.claim(export_id, self.run_id)

        return self._when_free(take)

    def claim_again(self, export: Export, asked: datetime | None) -> tuple[Claim, Export]:
        """Start the next attempt of an export that has ended, and claim it, for a run that was asked for at `asked`.

        Raises ExportNotClaimable when it is active, or has been started again since then. Where another process of this
        run has started the next attempt, it is not for this one to start one more.
        """
        self._check_not_restarted(export, asked)
        last = export.attempts[-1] if export.attempts else None
        before = export.attempt - 1 if last is not None and last.run_id == self.run_id else export.attempt
        return self._when_free(lambda: self.queue.claim_again(export.id, self.run_id, before))

    def follow(self, export_id: str, on_look: Callable[[Export], object]) -> Export:
        """Wait until an attempt that others run has ended, and return its export; `on_look` is told how it stands.

        It may be PENDING then: another attempt follows.
        """
        while (export := self.queue.get(export_id)).status is ExportStatus.TRIGGERED:
            on_look(export)
            if self.queue.reaper.reap(self.policy.timeout_millis) is None:
                self.policy.sleep(self.policy.interval_seconds)
        return export

    def _when_free(self, take: Callable[[], tuple[Claim, Export]]) -> tuple[Claim, Export]:
        """Return what `take` returns, called again as long as the queue is busy."""
        began, told = self.policy.clock(), ""
        while True:
            try:
                return take()
            except QueueBusy as busy:
                if isinstance(busy, QueuePaused) and not self.waits_while_paused:
                    raise
                if self.queue.reaper.reap(self.policy.timeout_millis) is not None:
                    continue
                if self.policy.clock() - began >= self.policy.most_seconds:
                    raise
                if busy.message != told:
                    told = busy.message
                    self.on_wait(told)
            self.policy.sleep(self.policy.interval_seconds)

    def _check_is_oldest(self, export_id: str) -> None:
        """Raise QueueBusy while older exports are PENDING; an export that is not PENDING itself is not held up here."""
        exports = self.queue.pending(_COUNTED)
        waiting = self.queue.breakers.waiting_types() if exports else {}
        for export in exports:
            if export.id == export_id:
                check_bucket(waiting, export)
        if all(export.id != export_id for export in exports):
            _check_due(self.queue.get(export_id), len(exports))
        pending = [export.id for export in exports if export.export_type not in waiting]
        ahead = pending.index(export_id) if export_id in pending else len(pending)
        if ahead and (export_id in pending or len(exports) == _COUNTED):
            raise QueueBusy(f"{ahead} exports were asked for before this one", payload=pending[0])

    def _check_not_restarted(self, export: Export, asked: datetime | None) -> None:
        if export.status in ACTIVE and export.run_id != self.run_id:
            by = "" if export.run_id is None else f" by run {export.run_id}"
            raise ExportNotClaimable(f"export {export.id} is {export.status}{by}", payload=export.id)
        last = export.attempts[-1] if export.attempts else None
        if asked is None or last is None or last.triggered is None or last.run_id == self.run_id:
            return
        if last.triggered > asked:
            raise ExportNotClaimable(
                f"export {export.id} has had attempt {last.attempt}, by run {last.run_id}, since this was asked for",
                payload=export.id,
            )


def _check_due(export: Export, others: int) -> None:
    """Raise QueueBusy when a PENDING export is to be retried later, as it is when it is none of the few that wait."""
    if export.status is ExportStatus.PENDING and export.retry_at is not None and others < _COUNTED:
        raise QueueBusy(export.retry_reason, payload=export.id)


def check_type(export: Export, export_type: str) -> None:
    """Raise ExportNotClaimable when an export is of another type than whoever wants to run it is for."""
    if export.export_type != export_type:
        raise ExportNotClaimable(
            f"export {export.id} is of type {export.export_type}, this job is for {export_type}", payload=export.id
        )


def check_not_running(export: Export, run_id: str) -> None:
    """Raise ExportNotClaimable when an export that was asked for is TRIGGERED by another run than this one."""
    if export.run_id is not None and export.status in ACTIVE and export.run_id != run_id:
        raise ExportNotClaimable(
            f"export {export.id} of the same campaign, type and date key is {export.status} by run {export.run_id}",
            payload=export.id,
        )
