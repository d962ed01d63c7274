"""The lease of a claim: renewed while the run works; and the run is stopped when it must end. Two threads do that.

The heartbeat goes on whatever the run is doing, so a long read or upload costs nobody the export. What it learns (the
export is lost, or to be cancelled) and that the time is up become a stop reason, which the run meets at its next
`check`. A run that does not come by (a read that hangs, an interrupt that was swallowed, a process that was stopped) is
given up after a short grace period: nothing of it outlives its time.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.errors import ExportCanceled, ExportExpired, LeaseLost, VfexportError
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.queue.claimed import ClaimedExport

LEASE_SECONDS = 60.0
"""Longer than a worker retries what MongoDB does not answer, so that nobody ends an export whose worker waits for an
election."""
_BEATS_PER_LEASE = 5
_LONGEST_INTERVAL_SECONDS = 1.0
_LONGEST_GRACE_SECONDS = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatTimings:
    """How often a lease is renewed, how long its run may take, and how long it may go on after that; in seconds."""

    interval: float
    timeout: float
    grace: float
    drain: float = 15.0
    """How long a run that knows that it must end may need for it (requests to S3 that are under way)."""

    @classmethod
    def of(cls, lease_seconds: float, timeout_millis: int) -> HeartbeatTimings:
        """Return those that go with a lease and a timeout."""
        return cls(
            interval=min(lease_seconds / _BEATS_PER_LEASE, _LONGEST_INTERVAL_SECONDS),
            timeout=timeout_millis / 1_000,
            grace=min(lease_seconds / 2, _LONGEST_GRACE_SECONDS),
        )


class Heartbeat:
    """Renews the lease of `claimed` until `stop`; `give_up` is called, in a thread, for a run that does not end.

    `claimed` should not be retried for long: a beat that takes too long is worth less than the next one.
    """

    def __init__(
        self, claimed: ClaimedExport, timings: HeartbeatTimings, give_up: Callable[[VfexportError], None]
    ) -> None:
        self._claimed = claimed
        self._export_id = claimed.claim.export_id
        self._timings = timings
        self._give_up = give_up
        self._deadline = time.monotonic() + timings.timeout
        self._progress: tuple[int, int, int] | None = None
        self._stop_reason: VfexportError | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._is_closed = threading.Event()
        self._is_noticed = threading.Event()

    @property
    def stop_reason(self) -> VfexportError | None:
        """Why the run must end: LeaseLost, ExportCanceled, ExportExpired; None when it may go on."""
        return self._stop_reason

    def start(self) -> None:
        for work in (self._beat, self._watch):
            threading.Thread(target=work, name=f"lease-{work.__name__.strip('_')}", daemon=True).start()

    def stop(self) -> None:
        """Do no more: the run has ended, one way or the other. A beat may still be under way."""
        self._stopped.set()
        self._wake.set()

    def stop_renewing(self) -> None:
        """Renew the lease no longer, for the export was closed; the run still has to end in time."""
        self._is_closed.set()

    def check(self) -> None:
        """Raise what the run must end with."""
        if self._stop_reason is None and time.monotonic() >= self._deadline:
            self._stop_with(self._expired())
        if self._stop_reason is not None:
            self._is_noticed.set()
            raise self._stop_reason

    def note_progress(self, read: int, rows: int, size: int) -> None:
        """Take how far the run is; the next beat carries it to the queue."""
        self._progress = (read, rows, size)

    def check_fence(self) -> None:
        """Prove the claim and renew the lease at this moment (L6); raises LeaseLost, SourceUnavailable, as `check`."""
        export = self._claimed.check_fence()
        if export.cancel_requested is not None:
            self._stop_with(ExportCanceled("the export was cancelled", payload=export.id))
        self.check()

    def _beat(self) -> None:
        while not (self._stopped.wait(self._timings.interval) or self._is_closed.is_set()):
            try:
                if self._progress is None:
                    export = self._claimed.check_fence()
                else:
                    export = self._claimed.progress(*self._progress)
            except LeaseLost as lost:
                if not (self._is_closed.is_set() or self._has_finished()):
                    self._stop_with(lost)
                return
            except VfexportError as error:
                # Whether the run may go on is decided by its next beat, its fence and its deadline.
                _log.warning("the lease of export %s was not renewed: %s", self._export_id, error.message)
                continue
            if export.cancel_requested is not None:
                self._stop_with(ExportCanceled("the export was cancelled", payload=export.id))

    def _has_finished(self) -> bool:
        try:
            export = self._claimed.read()
        except VfexportError:
            return False
        return export.status is ExportStatus.FINISHED and export.run_id == self._claimed.claim.run_id

    def _watch(self) -> None:
        # The clock goes on while the process is stopped: a worker that is continued too late is late at once.
        self._wake.wait(max(0.0, self._deadline - time.monotonic()))
        if self._stopped.is_set():
            return
        reason = self._stop_with(self._expired())
        if self._stopped.wait(self._timings.grace):
            return
        if self._is_noticed.is_set() and self._stopped.wait(self._timings.drain):
            return
        self._give_up(reason)

    def _expired(self) -> ExportExpired:
        millis = round(self._timings.timeout * 1_000)
        return ExportExpired(f"the export took longer than {millis} ms", payload=self._export_id)

    def _stop_with(self, reason: VfexportError) -> VfexportError:
        """Set the stop reason, unless there is one; return the one there is."""
        with self._lock:
            if self._stop_reason is None:
                self._stop_reason = reason
            self._wake.set()
            return self._stop_reason
