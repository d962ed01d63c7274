"""The jobs that export nothing: open deletions of users' data are completed, what is past its time is taken away."""

# No postponed annotations here: Dagster reads them when an op is declared.

from typing import Any

import dagster as dg
from pydantic import Field

from vfexport_dagster import tags
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.runs import DELETION_JOB, DagsterRuns
from vfexport_dagster.session import JOB_OPTIONS, missed

RETENTION_JOB = "retention"


class RetentionConfig(dg.Config):
    """Whether to do it, or only to list it."""

    apply: bool = Field(default=False, description="Take it away. Without this it is only listed.")


@dg.op
def take_up_deletions(context: dg.OpExecutionContext, mongo: MongoResource, buckets: BucketsResource) -> None:
    """Try to complete the open deletions whose turn it is; those that fail stay open and come again.

    The run fails when one of them could not be completed, so that operators see it, and says what is in the way.
    """
    from vfexport_core.services.delete_user import resume_deletions  # noqa: PLC0415 the definitions load without a driver

    with missed(context):
        resumed = resume_deletions(mongo.backend(buckets).deletion_tools)
        context.log.info("completed %d deletions: %s", len(resumed.completed), ", ".join(resumed.completed) or "none")
        resumed.check()


@dg.op
def take_away(
    context: dg.OpExecutionContext, config: RetentionConfig, mongo: MongoResource, buckets: BucketsResource
) -> None:
    """List, or take away, exports that ended longer ago than the retention period, and Dagster's runs as old as that.

    It only lists unless it is told to `apply`; nothing is past its time while VFEXPORT_RETENTION_DAYS is not set. It
    works for minutes at a time, and the next run goes on. It fails when something could not be taken away; the next one
    tries again.
    """
    from vfexport_core.queue.audit import Actor  # noqa: PLC0415 the definitions load without a driver
    from vfexport_core.services.retention import enforce_retention  # noqa: PLC0415 as above

    with missed(context):
        runs, by = DagsterRuns(context.instance), Actor("dagster", "dagster", context.run_id)
        left = enforce_retention(mongo.backend(buckets), runs, by, context.log.info, applies=config.apply)
    if left:
        raise dg.Failure(f"{len(left)} exports are left: {left[0].problem}", allow_retries=False)


def _job(op: dg.OpDefinition, name: str, description: str, priority: int, most_seconds: int, **options: Any) -> Any:
    """Return a job of one op, whose run Dagster ends after `most_seconds`; sooner if its process is gone (`missed`)."""
    limits = {tags.PRIORITY: str(priority), tags.MAX_RUNTIME: str(most_seconds)}
    graph = dg.GraphDefinition(name=name, node_defs=[op], description=description)
    return graph.to_job(tags=limits, **options, **JOB_OPTIONS)


deletion_job = _job(
    take_up_deletions,
    DELETION_JOB,
    "Takes open CCPA deletions up again until they are complete. Needs no configuration.",
    priority=1,  # before every export that waits: it takes seconds, and has a day at most
    most_seconds=900,
)

retention_job = _job(
    take_away,
    RETENTION_JOB,
    "Exports that ended more than VFEXPORT_RETENTION_DAYS ago, with their files, and Dagster's runs as old as that. "
    "Lists them; with `apply: true` takes them away.",
    # Behind every export that waits, also those that have no place yet: all the others have until tomorrow.
    priority=2 * int(tags.LAST),
    # It holds the only place for a run, for as long as `WORK_TIME` says; the rest is for clocks that are apart.
    most_seconds=600,
    config=dg.RunConfig(ops={take_away.name: RetentionConfig()}),
)

retention_schedule = dg.ScheduleDefinition(
    name="retention_daily",
    job=retention_job,
    cron_schedule="30 4 * * *",
    run_config=dg.RunConfig(ops={take_away.name: RetentionConfig(apply=True)}),
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Takes away, every night, what is past its time. Look at a run by hand first.",
)
"""Off by default: somebody has to switch it on."""
