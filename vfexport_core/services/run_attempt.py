"""One attempt of a claimed export, from its count to its end: the rules for every process that runs exports.

::

    with Worker(claim, export, backend) as worker:
        worker.count()
        delivered = worker.deliver(on_progress)
        worker.finish(delivered)          # whatever is raised before this: worker.end(error)

`run_claimed` is all of it. Inside the block the lease is renewed, and a worker that must end (lost, cancelled, out
of time) raises why at its next step; one that hangs is ended with its process, with status `STUCK`.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Self

from vfexport_core.catalog import find_spec
from vfexport_core.errors import ExportCanceled, ExportNotFound, LeaseLost, VfexportError
from vfexport_core.mongo.retry import WORKER_LIMITS, RetryLimits
from vfexport_core.queue.claimed import lease_lost
from vfexport_core.queue.lease import Heartbeat, HeartbeatTimings
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.statistics.counters import ExportCounters
from vfexport_core.services.hanging_buckets import noticing
from vfexport_core.sources.campaigns import check_markets
from vfexport_core.telemetry import context, tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from vfexport_core.queue.claimed import ClaimedExport
    from vfexport_core.queue.models import Claim, Delivered, Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.storage.object_store import ObjectStore

STUCK = 70
"""Exit status of a process that had to be ended because its worker did not end by itself."""

_CLEANING_SECONDS = 10.0
_CLOSING_SECONDS = 5.0
_COUNTING_SECONDS = 2.0

_log = logging.getLogger(__name__)


class ClaimedAttempt:
    """The `AttemptContext` of a run that holds its claim, as long as the `heartbeat` does not say that it must stop.

    `keys` are those that may have been published; `on_progress` is told of progress.
    """

    def __init__(self, claim: Claim, export: Export, queue: ExportRepository, heartbeat: Heartbeat) -> None:
        self.export = export
        self.claimed = queue.claimed(claim)
        self.keys: tuple[str, ...] = ()
        self.is_drained = True
        self.expected: int | None = None
        self.on_progress: Callable[[int, int, int], object] | None = None
        self._queue = queue
        self._heartbeat = heartbeat

    def report_progress(self, read: int, rows: int, size: int) -> None:
        self._heartbeat.check()
        self._heartbeat.note_progress(read, rows, size)
        if self.on_progress is not None:
            self.on_progress(read, rows, size)

    def is_taken(self, keys: Collection[str]) -> bool:
        return self._queue.is_taken(self.export, keys)

    def note_keys(self, bucket: str, keys: tuple[str, ...]) -> None:
        self._heartbeat.check()
        self.keys += keys
        self.claimed.note_keys(bucket, keys)

    def check_fence(self) -> None:
        self._heartbeat.check_fence()

    def requeue(self) -> None:
        error = ExportCanceled("queued again, because a user's data is being deleted", payload=self.export.id)
        self._queue.removal.requeue(self.export, error.as_dict())
        self._heartbeat.check_fence()  # raises: the claim is gone
        raise error

    def note_undrained(self) -> None:
        self.is_drained = False


class Worker:
    """See the module. `exit_process` is what ends a process that hangs."""

    def __init__(
        self,
        claim: Claim,
        export: Export,
        backend: Backend,
        *,
        exit_process: Callable[[int], object] = os._exit,
    ) -> None:
        self.claim = claim
        self.export = export
        self._backend = backend
        self._exit_process = exit_process
        self._spec = find_spec(export.export_type)
        lease_seconds = backend.settings.lease_seconds
        timings = HeartbeatTimings.of(lease_seconds, backend.settings.timeout_millis)
        beating = backend.queue_within(RetryLimits(max(timings.interval, lease_seconds / 4)))
        self._heartbeat = Heartbeat(beating.claimed(claim), timings, self._give_up)
        self._attempt = ClaimedAttempt(claim, export, backend.queue, self._heartbeat)
        self._store: ObjectStore | None = None

    def start(self) -> Self:
        export = self.export
        context.bind(correlationId=export.correlation_id, exportId=export.id, attempt=str(self.claim.attempt))
        self._heartbeat.start()
        return self

    def stop(self) -> None:
        """Stop renewing the lease; harmless to repeat."""
        self._heartbeat.stop()
        context.unbind("correlationId", "exportId", "attempt")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def count(self) -> int | None:
        """Count the documents to read, and note it; None for a type without a preliminary count.

        Raises NoMarketsFound when the type needs markets and the campaign has none: that needs no count.
        """
        from vfexport_core.pipeline.counting import count_rows  # noqa: PLC0415 a claim comes before the time to load Arrow

        self._heartbeat.check()
        with self._span("count"):
            backend = self._backend
            check_markets(self._spec, self.export.campaign_id, backend.database)
            found = count_rows(self._spec, self.export.campaign_id, backend.database, backend.settings)
            if found is not None:
                self._attempt.claimed.set_count(found)
        self._attempt.expected = found
        return found

    def deliver(self, on_progress: Callable[[int, int, int], object]) -> Delivered:
        """Write the files and publish them, all or nothing; raises as `run_export` does, and why the run must end.

        `on_progress` is told documents read, rows and bytes written, after every batch.
        """
        from vfexport_core.pipeline.run import run_export  # noqa: PLC0415 see `count`

        backend = self._backend
        self._store = store = backend.buckets.store(self._spec.bucket)
        self._attempt.on_progress = on_progress
        self._heartbeat.check()
        with self._span("deliver") as span, noticing(backend.queue.breakers, self._spec.bucket):
            delivered = run_export(self._attempt, settings=backend.settings, database=backend.database, store=store)
            span.set(vfexport__rows=delivered.rows, vfexport__bytes=delivered.bytes)
        return delivered

    def finish(self, delivered: Delivered) -> Export:
        """Record what was delivered: TRIGGERED -> FINISHED; raises LeaseLost, SourceUnavailable."""
        with self._span("finish"):
            export = self._attempt.claimed.finish(delivered)
        self.stop()
        with suppress(VfexportError):  # that the bucket is well again: the next export finds out, too
            self._backend.queue.breakers.close(self._spec.bucket)
        return export

    def end(self, error: BaseException) -> Export | None:
        """Record how the attempt ended, and take away what it published, once it is certain that it has not finished.

        Gives the export, FINISHED if the run did finish it and only the answer was lost; None when nothing could be
        recorded: then the reaper does.
        """
        try:
            return self._end(error, self._attempt.claimed, drained=self._attempt.is_drained)
        finally:
            self.stop()

    def _end(self, error: BaseException, claimed: ClaimedExport, *, drained: bool) -> Export | None:
        if not isinstance(error, KeyboardInterrupt):
            error = self._heartbeat.stop_reason or error  # what came of it is not the reason
        self._heartbeat.stop_renewing()
        if isinstance(error, LeaseLost):
            self._count_loss()
        try:
            final = claimed.end_by(error, drained=drained)
        except ExportNotFound:  # deleted, with all that it had delivered
            self._discard()
            return None
        except VfexportError as failure:
            # Now it is unknown whether the export was finished: its file may be the delivered one, so it stays.
            _log.warning("export %s could not be closed: %s", self.export.id, failure.message)
            return None
        mine = [attempt.status for attempt in final.attempts if attempt.attempt == self.claim.attempt]
        if ExportStatus.FINISHED not in mine:
            self._discard()
        return final

    def _count_loss(self) -> None:
        with suppress(VfexportError):  # a figure for operators, and the only place that knows
            ExportCounters(self._backend.database, RetryLimits(_COUNTING_SECONDS)).note_lease_lost()

    def _span(self, step: str) -> AbstractContextManager[tracing.Span]:
        export = self.export
        about = {"vfexport__export_id": export.id, "vfexport__export_type": export.export_type}
        return tracing.span(step, **about, vfexport__attempt=self.claim.attempt)

    def _discard(self) -> None:
        """Take away what may have been published, by the same store: one that hangs is not asked once more."""
        if self._store is None or not self._attempt.keys:
            return
        from vfexport_core.ccpa.file_index import FileIndex, file_of  # noqa: PLC0415 see `count`

        try:
            self._store.discard_attempt(self.export.id, self.claim.attempt, self._attempt.keys)
            if self._spec.ccpa_deletes:  # behind the file, as in `reap.clean_up`
                FileIndex(self._backend.database, WORKER_LIMITS).forget([file_of(self.export.id, self.claim.attempt)])
        except VfexportError as failure:
            # The reaper looks after what lost attempts leave.
            _log.warning("something of export %s may be left in its bucket: %s", self.export.id, failure.message)

    def _give_up(self, reason: VfexportError) -> None:
        """End the process of a run that hangs; the export is closed and cleaned up first, as far as that is quick."""
        _log.error("export %s: the run does not end and is ended: %s", self.export.id, reason.message)
        claimed = self._backend.queue_within(RetryLimits(_CLOSING_SECONDS)).claimed(self.claim)
        last = threading.Thread(target=self._end, args=(reason, claimed), kwargs={"drained": False}, daemon=True)
        last.start()
        last.join(_CLEANING_SECONDS)
        self._exit_process(STUCK)


def run_claimed(
    claim: Claim,
    export: Export,
    backend: Backend,
    *,
    on_count: Callable[[int | None], object],
    on_progress: Callable[[int, int, int], object],
    undisturbed: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Export:
    """Deliver and finish a claimed export. An error or a signal ends it as FAILED, EXPIRED or CANCELED, and comes out.

    Raises LeaseLost, whatever the run met first, when another run has taken the export over.

    Within `undisturbed` its end is recorded, so that a second signal does not come in between.
    """
    with Worker(claim, export, backend) as worker:
        try:
            on_count(worker.count())
            return worker.finish(worker.deliver(on_progress))
        except BaseException as error:
            with undisturbed():
                final = worker.end(error)
            if final is not None and final.status is ExportStatus.FINISHED and final.run_id == claim.run_id:
                return final
            if final is not None and isinstance(error, VfexportError) and not _was_ended_by(error, claim, final):
                # It was taken over: that S3 no longer has what the run had staged, say, only comes of that.
                raise lease_lost(claim, f"is {final.status} in attempt {final.attempt}") from error
            raise


def _was_ended_by(error: VfexportError, claim: Claim, final: Export) -> bool:
    """Return whether it is the run that ended its attempt; another attempt may have followed by itself."""
    if (final.run_id, final.attempt) == (claim.run_id, claim.attempt):
        return True
    mine = [entry.error for entry in final.attempts if (entry.run_id, entry.attempt) == (claim.run_id, claim.attempt)]
    return [entry and entry.get("code") for entry in mine] == [error.code]
