"""The job that takes open deletions of users' data up again (``vfexport_core.ccpa``)."""

# No postponed annotations here: Dagster reads them when an op is declared.

import dagster as dg

from vfexport_dagster import tags
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.runs import DELETION_JOB
from vfexport_dagster.session import JOB_OPTIONS, failing

# Before every export that waits: it takes seconds, and has a day at most.
_PRIORITY = "1"
_MOST_SECONDS = 900


@dg.op
def take_up_deletions(context: dg.OpExecutionContext, mongo: MongoResource, buckets: BucketsResource) -> None:
    """Try to complete the open deletions whose turn it is; those that fail stay open and come again.

    The run fails when one of them could not be completed, so that operators see it, and says what is in the way.
    """
    from vfexport_core.services.delete_user import resume_deletions  # noqa: PLC0415 the definitions load without a driver

    with failing(context):
        resumed = resume_deletions(mongo.backend(buckets).deletion_tools)
        context.log.info("completed %d deletions: %s", len(resumed.completed), ", ".join(resumed.completed) or "none")
        resumed.check()


@dg.job(
    name=DELETION_JOB,
    description="Takes open CCPA deletions up again until they are complete. Needs no configuration.",
    tags={tags.PRIORITY: _PRIORITY, tags.MAX_RUNTIME: str(_MOST_SECONDS)},
    **JOB_OPTIONS,
)
def deletion_job() -> None:
    """Take open deletions up again."""
    take_up_deletions()
