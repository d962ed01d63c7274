"""The job that takes away what is past its time: exports with their files, and Dagster's own old runs.

It only lists unless it is told to `apply`; nothing is past its time while VFEXPORT_RETENTION_DAYS is not set.
"""

# No postponed annotations here: Dagster reads them when an op is declared.

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import dagster as dg
from pydantic import Field

from vfexport_dagster import tags
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.session import RESOURCES, failing

T = TypeVar("T")

JOB_NAME = "retention"
SCHEDULE_NAME = "retention_daily"
ACTOR = "dagster"

# Behind every export that waits, also those that have no place yet: all the others have until tomorrow.
_PRIORITY = str(2 * int(tags.LAST))
# It holds the only place for a run: it works for so long at a time, and is ended minutes after if its process is gone
# (the rest is for clocks that are apart).
_WORK_SECONDS = 300.0
_MOST_SECONDS = 600
_AT_ONCE = 100
_LISTED = 50
_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


class RetentionConfig(dg.Config):
    """Whether to do it, or only to list it."""

    apply: bool = Field(default=False, description="Take it away. Without this it is only listed.")


@dg.op
def take_away(
    context: dg.OpExecutionContext, config: RetentionConfig, mongo: MongoResource, buckets: BucketsResource
) -> None:
    """List, or take away, exports that ended longer ago than the retention period, and Dagster's runs as old as that.

    It works for minutes at a time, and the next run goes on. It fails when something could not be taken away; the next
    one tries again.
    """
    from vfexport_core.queue.audit import Actor  # noqa: PLC0415 the definitions load without a driver
    from vfexport_core.services.retention import Retention  # noqa: PLC0415 as above

    log = context.log.info
    with failing(context):
        retention = Retention.from_settings(mongo.backend(buckets))
        actor = Actor(ACTOR, "dagster", context.run_id)
        until = time.monotonic() + _WORK_SECONDS
        seen = [*_until(until, retention.apply(actor) if config.apply else retention.plan())]
    done = "taken away" if config.apply else "would be taken away"
    for one in seen[:_LISTED]:
        log(f"export {one.export.id} ({one.export.export_type}): {one.problem or done}")
    before = datetime.now(UTC) - timedelta(days=retention.days)
    runs = [run_id for run_id in _old_runs(context.instance, before) if run_id != context.run_id]
    if config.apply:
        deleted: list[str] = []
        for run_id in _until(until, runs):
            context.instance.delete_run(run_id)
            deleted.append(run_id)
        runs = deleted  # there may have been no time for the others
    if time.monotonic() >= until:
        log(f"the {_WORK_SECONDS:.0f} s of one run are over: what is left comes next time")
    left = [one for one in seen if one.problem is not None]
    log(f"{len(seen) - len(left)} exports and {len(runs)} runs that ended more than {retention.days} days ago {done}")
    if left:
        raise dg.Failure(f"{len(left)} exports are left: {left[0].problem}", allow_retries=False)


def _until(moment: float, found: Iterable[T]) -> Iterator[T]:
    """Yield what was found, until it is that moment."""
    for one in found:
        yield one
        if time.monotonic() >= moment:
            return


def _old_runs(instance: dg.DagsterInstance, before: datetime) -> Iterator[str]:
    cursor: str | None = None
    while True:
        filters = dg.RunsFilter(statuses=list(_ENDED), created_before=before)
        records = instance.get_run_records(filters, limit=_AT_ONCE, cursor=cursor)
        yield from (record.dagster_run.run_id for record in records)
        if len(records) < _AT_ONCE:
            return
        cursor = records[-1].dagster_run.run_id


@dg.graph
def past_its_time() -> None:
    """Take away what is past its time."""
    take_away()


def build_retention_job() -> dg.JobDefinition:
    """Build the job. By hand it lists; its schedule, which is off by default, applies."""
    return past_its_time.to_job(
        name=JOB_NAME,
        description=(
            "Exports that ended more than VFEXPORT_RETENTION_DAYS ago, with their files, and Dagster's runs as old as "
            "that. Lists them; with `apply: true` takes them away."
        ),
        config=dg.RunConfig(ops={"take_away": RetentionConfig()}),
        executor_def=dg.in_process_executor,
        resource_defs=dict(RESOURCES),
        tags={tags.PRIORITY: _PRIORITY, tags.MAX_RUNTIME: str(_MOST_SECONDS)},
    )


def build_retention_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Build the daily schedule that applies it; somebody has to switch it on."""
    return dg.ScheduleDefinition(
        name=SCHEDULE_NAME,
        job=job,
        cron_schedule="30 4 * * *",
        run_config=dg.RunConfig(ops={"take_away": RetentionConfig(apply=True)}),
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Takes away, every night, what is past its time. Look at a run by hand first.",
    )
