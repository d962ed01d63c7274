"""Keeps a claim alive while its run works, and ends the run when it must end; two threads that need no help.

The heart beats whatever the run is doing, so a long read or upload costs nobody the export. What it learns (the export
is lost, or to be cancelled) and that the time is up become a `verdict`, which the run meets at its next `check`. A run
that does not come by (a read that hangs, an interrupt that was swallowed, a process that was stopped) is given up after
a short grace: nothing of it outlives its time.
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

    from vfexport_core.queue.models import Claim
    from vfexport_core.queue.store import ExportStore

BEATS_PER_LEASE = 5
_LONGEST_BEAT_SECONDS = 1.0
_LONGEST_GRACE_SECONDS = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a claim is renewed, how long its run may take, and how long it may go on after that; in seconds."""

    beat: float
    timeout: float
    grace: float
    settle: float = 30.0
    """How long a run that knows that it must end may need for it (requests to S3 that are under way)."""

    @classmethod
    def of(cls, lease_seconds: float, timeout_millis: int) -> Pace:
        return cls(
            beat=min(lease_seconds / BEATS_PER_LEASE, _LONGEST_BEAT_SECONDS),
            timeout=timeout_millis / 1_000,
            grace=min(lease_seconds / 2, _LONGEST_GRACE_SECONDS),
        )


class ClaimKeeper:
    """Renews `claim` until `stop`; `give_up` is called, in a thread, for a run that does not end when it must.

    `store` should have little patience: a beat that takes too long is worth less than the next one.
    """

    def __init__(self, store: ExportStore, claim: Claim, pace: Pace, give_up: Callable[[VfexportError], None]) -> None:
        self._store = store
        self._claim = claim
        self._pace = pace
        self._give_up = give_up
        self._deadline = time.monotonic() + pace.timeout
        self._progress: tuple[int, int, int] | None = None
        self._verdict: VfexportError | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._released = threading.Event()
        self._met = threading.Event()

    @property
    def verdict(self) -> VfexportError | None:
        """Why the run must end: LeaseLost, ExportCanceled, ExportExpired; None when it may go on."""
        return self._verdict

    def start(self) -> None:
        for work in (self._beat, self._watch):
            threading.Thread(target=work, name=f"claim-{work.__name__.strip('_')}", daemon=True).start()

    def stop(self) -> None:
        """Let go of the claim: the run has ended, one way or the other. A beat may still be under way."""
        self._stopped.set()
        self._wake.set()

    def release(self) -> None:
        """Renew the claim no longer, for the export was closed; the run still has to end in time."""
        self._released.set()

    def check(self) -> None:
        """Raise what the run must end with."""
        if self._verdict is None and time.monotonic() >= self._deadline:
            self._tell(self._expired())
        if self._verdict is not None:
            self._met.set()
            raise self._verdict

    def note(self, read: int, rows: int, size: int) -> None:
        """Take how far the run is; the next beat carries it to the queue."""
        self._progress = (read, rows, size)

    def renew(self) -> None:
        """Prove the claim and renew it at this moment (L6); raises LeaseLost, ExportCanceled, SourceUnavailable."""
        export = self._store.confirm(self._claim)
        if export.cancel_requested is not None:
            self._tell(ExportCanceled("the export was cancelled", payload=export.id))
        self.check()

    def _beat(self) -> None:
        while not (self._stopped.wait(self._pace.beat) or self._released.is_set()):
            try:
                if self._progress is None:
                    export = self._store.confirm(self._claim)
                else:
                    export = self._store.progress(self._claim, *self._progress)
            except LeaseLost as lost:
                if not (self._released.is_set() or self._has_finished()):
                    self._tell(lost)
                return
            except VfexportError as error:
                # Whether the run may go on is decided by its next beat, its fence and its deadline.
                _log.warning("the lease of export %s was not renewed: %s", self._claim.export_id, error.message)
                continue
            if export.cancel_requested is not None:
                self._tell(ExportCanceled("the export was cancelled", payload=export.id))

    def _has_finished(self) -> bool:
        try:
            export = self._store.get(self._claim.export_id)
        except VfexportError:
            return False
        return export.status is ExportStatus.FINISHED and export.run_id == self._claim.run_id

    def _watch(self) -> None:
        # The clock goes on while the process is stopped: a worker that is continued too late is late at once.
        self._wake.wait(max(0.0, self._deadline - time.monotonic()))
        if self._stopped.is_set():
            return
        verdict = self._tell(self._expired())
        if self._stopped.wait(self._pace.grace) or (self._met.is_set() and self._stopped.wait(self._pace.settle)):
            return
        self._give_up(verdict)

    def _expired(self) -> ExportExpired:
        millis = round(self._pace.timeout * 1_000)
        return ExportExpired(f"the export took longer than {millis} ms", payload=self._claim.export_id)

    def _tell(self, verdict: VfexportError) -> VfexportError:
        """Set the verdict, unless there is one; give the one there is."""
        with self._lock:
            if self._verdict is None:
                self._verdict = verdict
            self._wake.set()
            return self._verdict
