"""What the ops of a job share: one `AttemptSession` for as long as a run lasts."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import dagster as dg

from vfexport_core.errors import error_report
from vfexport_core.queue.claim_process import process_id
from vfexport_core.services.run_tags import ERROR, PROCESS
from vfexport_core.telemetry.logs import warnings_to
from vfexport_dagster.assets import CAMPAIGNS, delivered_events
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.runs import RecordedRun
from vfexport_dagster.startup.event_log import outlast_outages

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from vfexport_core.queue.models import Export
    from vfexport_core.services.attempt_session import AttemptSession


class AttemptResource:
    """The session, for one op after the other: what it reports goes into the log of the op that is at work."""

    def __init__(self, context: dg.InitResourceContext) -> None:
        from vfexport_core.services.attempt_session import AttemptSession  # noqa: PLC0415 see `MongoResource`
        from vfexport_core.services.run_claim import RunClaim  # noqa: PLC0415 as above

        assert context.instance is not None, "a run has an instance"
        assert context.run is not None, "only runs have this resource"
        outlast_outages(context.instance)
        mongo: MongoResource = context.resources.mongo
        backend, run = mongo.backend(context.resources.buckets), RecordedRun(context.instance, context.run)
        self._log: logging.Logger = context.log or logging.getLogger(__name__)
        self.session = AttemptSession(RunClaim.of(run, backend, self._report))

    def _report(self, text: str) -> None:
        self._log.info(text)

    @contextmanager
    def step(self, context: dg.OpExecutionContext) -> Generator[AttemptSession]:
        self._log = context.log
        with failing(context):
            yield self.session

    def tell_delivered(self, context: dg.OpExecutionContext, export: Export) -> None:
        """Record the files of a FINISHED export as its type's asset, which stays FINISHED if that fails."""
        origin = context.run.remote_job_origin
        try:
            with suppress(Exception):  # while Dagster's storage is away; the events wait for it
                context.instance.add_dynamic_partitions(str(CAMPAIGNS.name), [export.campaign_id])
            for event in delivered_events(export, self.session.describe(export), origin and origin.location_name):
                context.log_event(event)  # pyright: ignore[reportArgumentType] it takes checks, too
        except Exception as error:  # noqa: BLE001 whatever it is
            context.log.warning("the asset could not be described: %s", error_report(error))


@contextmanager
def missed(context: dg.OpExecutionContext) -> Generator[None]:
    """Note in which process a run works that exports nothing, so that it is missed when that is gone; see `failing`."""
    with failing(context):
        with suppress(Exception):  # Dagster's storage is away: run monitoring ends what is lost, later
            context.instance.add_run_tags(context.run_id, {PROCESS: process_id(context.run_id)})
        yield


@contextmanager
def failing(context: dg.OpExecutionContext) -> Generator[None]:
    """Turn whatever is raised inside into the end of the run, which says what to do; an interrupt stays one."""
    try:
        with warnings_to(context.log.warning):
            yield
    except Exception as error:  # noqa: BLE001 whatever it is, the run ends with it
        about = error_report(error)
        with suppress(Exception):  # Dagster's storage is away; the run ends all the same
            context.instance.add_run_tags(context.run_id, {ERROR: about["code"]})
        description = f"{about['code']}: {about['message']}. {about['hint']}"
        # "from None": the chain would print messages of the driver and of Python, and those may quote data.
        raise dg.Failure(description, metadata=about, allow_retries=False) from None


@dg.resource(
    required_resource_keys={"mongo", "buckets"}, description="The claim of the run, for as long as the run lasts."
)
def attempt_session(context: dg.InitResourceContext) -> Iterator[AttemptResource]:
    """Return the session of one run, which from here on does not depend on Dagster's storage."""
    attempt = AttemptResource(context)
    try:
        yield attempt
    finally:
        attempt.session.close()


RESOURCES: Mapping[str, Any] = {"mongo": MongoResource(), "buckets": BucketsResource(), "attempt": attempt_session}
"""What jobs and sensors ask for, by name."""

JOB_OPTIONS: Mapping[str, Any] = {"executor_def": dg.in_process_executor, "resource_defs": RESOURCES}
"""Of every job: a step is not worth a process of its own, so all run in the run's."""
