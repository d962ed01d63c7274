"""Open deletions of users' data -> a run that takes them up again, until each is complete."""

# No postponed annotations here: Dagster reads them when a sensor is declared.

from datetime import UTC, datetime, timedelta

import dagster as dg

from vfexport_core.ccpa.records import Deletion
from vfexport_core.errors import SourceUnavailable
from vfexport_core.services.reconcile import Sightings
from vfexport_core.services.run_tags import CAMPAIGN_ID, EXPORT_ID
from vfexport_dagster.assets import asset_key
from vfexport_dagster.deletion import JOB_NAME
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.runs import LIVE, export_type_of

DEAD_SECONDS = 120.0
"""A run that has begun and holds no deletion for so long has lost its process; its place in the queue is needed."""

_PATIENCE_SECONDS = 5.0
_LOOK_BACK = timedelta(days=1)
_BEGUN = frozenset({dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING})


def build_deletion_sensor(job: dg.JobDefinition, begun: Sightings | None = None) -> dg.SensorDefinition:
    """Build the sensor for the job that takes deletions up; `begun` is for how long its runs have been seen at work."""
    seen = begun or Sightings()

    @dg.sensor(
        name="ccpa_deletions",
        job=job,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=10,
        description="Asks for a run that takes open CCPA deletions up again, when it is their turn.",
    )
    def ccpa_deletions(context: dg.SensorEvaluationContext, mongo: MongoResource) -> dg.RunRequest | dg.SkipReason:
        """Look once. There is one such run at a time; it has no run key, for the same deletion may need many."""
        from vfexport_core.ccpa.repository import DeletionRepository  # noqa: PLC0415 loads without a driver
        from vfexport_core.mongo.retry import RetryLimits  # noqa: PLC0415 as above

        deletions = DeletionRepository(mongo.database, RetryLimits(_PATIENCE_SECONDS))
        since = datetime.fromisoformat(context.cursor) if context.cursor else datetime.now(UTC) - _LOOK_BACK
        try:
            for moment, record in deletions.completed_since(since):
                observe(context.instance, record)
                context.update_cursor(moment.isoformat())
            due = deletions.due()
            if not due:
                return dg.SkipReason("no open deletion whose turn it is")
            run = _live_run(context.instance)
            if run is None:
                return dg.RunRequest()
            if not _is_dead(run.dagster_run, seen) or deletions.somebody_is_at_work():
                return dg.SkipReason(f"{len(due)} open deletions: run {run.dagster_run.run_id} is for them")
        except SourceUnavailable as error:
            return dg.SkipReason(error.description)
        context.instance.report_run_failed(run.dagster_run, message="It holds no deletion: its process is gone.")
        return dg.RunRequest()

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


def _live_run(instance: dg.DagsterInstance) -> dg.RunRecord | None:
    records = instance.get_run_records(dg.RunsFilter(job_name=JOB_NAME, statuses=list(LIVE)), limit=1)
    return records[0] if records else None


def _is_dead(run: dg.DagsterRun, begun: Sightings) -> bool:
    return run.status in _BEGUN and begun.lasted(run.run_id) > DEAD_SECONDS
