"""Open deletions of users' data (``vfexport_core.ccpa``) -> a run that takes them up again, until each is complete."""

# No postponed annotations here: Dagster reads them when an op or a sensor is declared.

from datetime import UTC, datetime, timedelta

import dagster as dg

from vfexport_core.ccpa.records import Deletion
from vfexport_core.services.reconcile_runs import Sightings
from vfexport_core.services.run_tags import CAMPAIGN_ID, EXPORT_ID
from vfexport_dagster import tags
from vfexport_dagster.assets import asset_key
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.runs import DELETION_JOB, DagsterRuns, export_type_of
from vfexport_dagster.sensors import sensor
from vfexport_dagster.session import JOB_OPTIONS, missed

_RETRY_SECONDS = 5.0
_LOOK_BACK = timedelta(days=1)
# Before every export that waits: it takes seconds, and has a day at most.
_PRIORITY = "1"
_MOST_SECONDS = 900


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


@dg.job(
    name=DELETION_JOB,
    description="Takes open CCPA deletions up again until they are complete. Needs no configuration.",
    tags={tags.PRIORITY: _PRIORITY, tags.MAX_RUNTIME: str(_MOST_SECONDS)},
    **JOB_OPTIONS,
)
def deletion_job() -> None:
    """Take open deletions up again."""
    take_up_deletions()


def build_deletion_sensor(begun: Sightings | None = None) -> dg.SensorDefinition:
    """Build the sensor that asks for the job's runs; `begun` is for how long its runs have been seen at work."""
    seen = begun or Sightings()

    @sensor(
        "ccpa_deletions", 10, "Asks for a run that takes open CCPA deletions up again, in their turn.", job=deletion_job
    )
    def ccpa_deletions(context: dg.SensorEvaluationContext, mongo: MongoResource) -> dg.RunRequest | dg.SkipReason:
        """Look once. There is one such run at a time; it has no run key, for the same deletion may need many."""
        from vfexport_core.services.delete_user import why_no_run  # noqa: PLC0415 the definitions load without a driver

        deletions = mongo.backend(retry_seconds=_RETRY_SECONDS).deletions
        since = datetime.fromisoformat(context.cursor) if context.cursor else datetime.now(UTC) - _LOOK_BACK
        for moment, record in deletions.completed_since(since):
            observe(context.instance, record)
            context.update_cursor(moment.isoformat())
        why = why_no_run(deletions, DagsterRuns(context.instance), seen)
        return dg.RunRequest() if why is None else dg.SkipReason(why)

    return ccpa_deletions


def observe(instance: dg.DagsterInstance, record: Deletion) -> None:
    """Record on the assets that files of them were deleted, as far as Dagster's runs made them."""
    runs = instance.get_runs(dg.RunsFilter(tags={EXPORT_ID: sorted(record.noted_exports)}))
    for export_type, campaign_id in {(export_type_of(run), run.tags.get(CAMPAIGN_ID)) for run in runs}:
        if export_type is None:
            continue
        about = {"deletion": record.id, "what": "files that held a person's data were deleted (CCPA)"}
        observation = dg.AssetObservation(asset_key(export_type), partition=campaign_id, metadata=about)
        instance.report_runless_asset_event(observation)
