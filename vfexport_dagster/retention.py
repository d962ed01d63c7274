"""The job that takes away what is past its time: exports with their files, and Dagster's own old runs.

It only lists unless it is told to `apply`; nothing is past its time while VFEXPORT_RETENTION_DAYS is not set.
"""

# No postponed annotations here: Dagster reads them when an op is declared.

import dagster as dg
from pydantic import Field

from vfexport_dagster import tags
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.runs import DagsterRuns
from vfexport_dagster.session import JOB_OPTIONS, missed

JOB_NAME = "retention"

# Behind every export that waits, also those that have no place yet: all the others have until tomorrow.
_PRIORITY = str(2 * int(tags.LAST))
# It holds the only place for a run: it works for so long at a time, and is ended minutes after if its machine is gone
# (the rest is for clocks that are apart); within seconds if its process is, on the same machine or in a cluster.
_WORK_SECONDS = 300.0
# An export that waits for it waits less than VfexportQueueStuck takes for standing still.
_AWAITED_SECONDS = 60.0
_MOST_SECONDS = 600


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
    from vfexport_core.services.retention import Retention, WorkTime, enforce_retention  # noqa: PLC0415 as above

    with missed(context):
        retention = Retention.from_settings(mongo.backend(buckets))
        runs, by = DagsterRuns(context.instance), Actor("dagster", "dagster", context.run_id)
        work_time = WorkTime(_WORK_SECONDS, min(_AWAITED_SECONDS, _WORK_SECONDS))
        left = enforce_retention(retention, runs, by, context.log.info, applies=config.apply, work_time=work_time)
    if left:
        raise dg.Failure(f"{len(left)} exports are left: {left[0].problem}", allow_retries=False)


@dg.job(
    name=JOB_NAME,
    description=(
        "Exports that ended more than VFEXPORT_RETENTION_DAYS ago, with their files, and Dagster's runs as old as "
        "that. Lists them; with `apply: true` takes them away."
    ),
    config=dg.RunConfig(ops={"take_away": RetentionConfig()}),
    tags={tags.PRIORITY: _PRIORITY, tags.MAX_RUNTIME: str(_MOST_SECONDS)},
    **JOB_OPTIONS,
)
def retention_job() -> None:
    """Take away what is past its time; by hand it lists, its schedule applies."""
    take_away()


retention_schedule = dg.ScheduleDefinition(
    name="retention_daily",
    job=retention_job,
    cron_schedule="30 4 * * *",
    run_config=dg.RunConfig(ops={"take_away": RetentionConfig(apply=True)}),
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Takes away, every night, what is past its time. Look at a run by hand first.",
)
"""Off by default: somebody has to switch it on."""
