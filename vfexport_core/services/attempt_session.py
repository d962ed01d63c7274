"""One attempt, step by step, for an orchestrator whose runs have steps; each can be begun with."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vfexport_core.queue.models import ExportStatus
from vfexport_core.services.describe import describe_delivered
from vfexport_core.services.run_attempt import Worker
from vfexport_core.services.run_claim import Skipped
from vfexport_core.telemetry.progress import ProgressLog

if TYPE_CHECKING:
    from collections.abc import Generator

    from vfexport_core.queue.models import Delivered, Export
    from vfexport_core.services.describe import Description
    from vfexport_core.services.launch import Launch
    from vfexport_core.services.run_claim import RunClaim


class AttemptSession:
    """The claim of a run, the worker that keeps it alive, and what it has delivered.

    A run that was re-executed from a failed step on finds nothing of what the earlier run did, whose claim is worth
    nothing any more: each step first does all that comes before it. What a step raises is recorded as the end of the
    attempt (L5); an interrupt is not: whether that was a cancel or a timeout is known outside.
    """

    def __init__(self, run: RunClaim) -> None:
        self._run = run
        self._worker: Worker | None = None
        self._has_counted = False
        self._expected: int | None = None
        self._since = 0.0
        self.delivered: Delivered | None = None

    def close(self) -> None:
        """Stop keeping the claim, if it is still kept."""
        if self._worker is not None:
            self._worker.stop()

    def claim(self, launch: Launch) -> bool:
        """Claim the export that the run was launched for; False when there is nothing to do. Raises as `RunClaim`."""
        try:
            self._take(self._run.find_or_request(launch))
        except Skipped as skipped:
            self._run.report(f"nothing to do: {skipped}")
            return False
        return True

    def count(self) -> None:
        """Count the documents to read, for the types that have such a preliminary count."""
        with self._claimed() as worker:
            self._expected = worker.count()
        self._has_counted = True
        if self._expected is not None:
            self._run.report(f"about {self._expected:,} documents to read")

    def deliver(self) -> Delivered:
        """Write the file and publish it, all or nothing."""
        if not self._has_counted:
            self.count()
        with self._claimed() as worker:
            delivered = worker.deliver(ProgressLog(self._run.report, self._expected, since=self._since))
        self.delivered = delivered
        self._run.report(f"published {delivered.rows:,} rows, {delivered.bytes:,} bytes as {', '.join(delivered.keys)}")
        return delivered

    def finish(self) -> Export:
        """Record what was delivered and return the FINISHED export; a file that cannot be recorded is taken away."""
        delivered = self.delivered or self.deliver()
        with self._claimed() as worker:
            export = worker.finish(delivered)
        pace = f"{export.seconds or 0:,.1f} s, {export.rows_per_second:,} rows/s"
        self._run.report(f"{export.id} is FINISHED: {delivered.rows:,} rows in {pace}")
        return export

    def describe(self, export: Export) -> Description:
        """Describe what was delivered, when that is recorded."""
        assert self.delivered is not None, "it has finished"
        return describe_delivered(self._run.backend, export, self.delivered)

    def _take(self, export: Export) -> Worker:
        claim, claimed = self._run.take(export)
        self._worker, self._since = Worker(claim, claimed, self._run.backend).start(), time.monotonic()
        return self._worker

    @contextmanager
    def _claimed(self) -> Generator[Worker]:
        worker = self._worker or self._take(self._run.find_again())
        try:
            yield worker
        except Exception as error:
            final = worker.end(error)
            if final is not None and final.status is ExportStatus.PENDING:
                self._run.report(f"attempt {final.attempt} of export {final.id} follows by itself")
            raise
