"""One attempt, for as long as a run lasts: what the ops of a job share, and what each begins with if it has to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from vfexport_core.services.claim import WaitPolicy
from vfexport_core.telemetry.progress import ProgressLog
from vfexport_dagster.claiming import RunClaim
from vfexport_dagster.event_log import outlast_outages
from vfexport_dagster.reporting import RunLog, failing, recorded
from vfexport_dagster.resources import BucketsResource, MongoResource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vfexport_core.queue.models import Delivered, Export
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.services.run_attempt import Worker
    from vfexport_dagster.config import ClaimConfig


class AttemptSession:
    """The claim of a run, the worker that keeps it alive, and what it has delivered.

    An op whose run was re-executed from a failure on finds nothing of what the earlier run did, whose claim is worth
    nothing any more: it first does all that comes before it.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._worker: Worker | None = None
        self._has_counted = False
        self._expected: int | None = None
        self._delivered: Delivered | None = None

    def close(self) -> None:
        """Stop keeping the claim, if it is still kept."""
        if self._worker is not None:
            self._worker.stop()

    def claim(self, context: dg.OpExecutionContext, config: ClaimConfig | None = None) -> Worker:
        """Claim the export that the run is for (without `config`: that of the run that it re-executes).

        Raises Skipped when there is nothing to do, else what `RunClaim` raises, as a Failure.
        """
        from vfexport_core.services.run_attempt import Worker  # noqa: PLC0415 the definitions load without a driver

        log, settings = RunLog.of_run(context), self._backend.settings
        policy = WaitPolicy.from_settings(settings, most_seconds=settings.timeout_millis / 1_000)
        run = RunClaim(context.run, context.instance, self._backend, policy, log)
        with failing(log):
            export = run.find_again() if config is None else run.find_or_request(config)
            claim, claimed = run.take(export)
        self._worker = Worker(claim, claimed, self._backend).start()
        return self._worker

    def count(self, context: dg.OpExecutionContext) -> None:
        """Count the documents to read, for the types that have such a preliminary count."""
        worker, log = self._claimed(context)
        with recorded(worker.end, log):
            self._expected = worker.count()
        self._has_counted = True
        if self._expected is not None:
            log.report(f"about {self._expected:,} documents to read")

    def deliver(self, context: dg.OpExecutionContext) -> Delivered:
        """Write the file to S3 and publish it, all or nothing."""
        if not self._has_counted:
            self.count(context)
        worker, log = self._claimed(context)
        with recorded(worker.end, log):
            delivered = worker.deliver(ProgressLog(log.report, self._expected))
        self._delivered = delivered
        log.report(f"published {delivered.rows:,} rows, {delivered.bytes:,} bytes as {', '.join(delivered.keys)}")
        return delivered

    def finish(self, context: dg.OpExecutionContext) -> Export:
        """Record what was delivered and return the FINISHED export; a file that cannot be recorded is taken away."""
        delivered = self._delivered or self.deliver(context)
        worker, log = self._claimed(context)
        with recorded(worker.end, log):
            export = worker.finish(delivered)
        log.report(f"{export.id} is FINISHED")
        return export

    def _claimed(self, context: dg.OpExecutionContext) -> tuple[Worker, RunLog]:
        worker = self._worker or self.claim(context)
        return worker, RunLog(context.log, worker.export.correlation_id)


@dg.resource(
    required_resource_keys={"mongo", "buckets"}, description="The claim of the run, for as long as the run lasts."
)
def attempt_session(context: dg.InitResourceContext) -> Iterator[AttemptSession]:
    """Return the session of one run, which from here on does not depend on Dagster's storage."""
    assert context.instance is not None, "a run has an instance"
    outlast_outages(context.instance)
    mongo: MongoResource = context.resources.mongo
    session = AttemptSession(mongo.backend(context.resources.buckets))
    try:
        yield session
    finally:
        session.close()


RESOURCES: Mapping[str, Any] = {
    "mongo": MongoResource(),
    "buckets": BucketsResource(),
    "attempt": attempt_session,
}
"""What jobs and sensors ask for, by name."""
