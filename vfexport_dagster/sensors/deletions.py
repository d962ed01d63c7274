"""Open deletions of users' data -> a run that takes them up again, until each is complete."""

# No postponed annotations here: Dagster reads them when a sensor is declared.

from datetime import UTC, datetime, timedelta

import dagster as dg

from vfexport_core.ccpa.records import Deletion
from vfexport_core.services.reconcile import Sightings
from vfexport_core.services.run_tags import CAMPAIGN_ID, EXPORT_ID
from vfexport_dagster.assets import asset_key
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.runs import DagsterRuns, export_type_of
from vfexport_dagster.sensors import sensor

_RETRY_SECONDS = 5.0
_LOOK_BACK = timedelta(days=1)


def build_deletion_sensor(job: dg.JobDefinition, begun: Sightings | None = None) -> dg.SensorDefinition:
    """Build the sensor for the job that takes deletions up; `begun` is for how long its runs have been seen at work."""
    seen = begun or Sightings()

    @sensor("ccpa_deletions", 10, "Asks for a run that takes open CCPA deletions up again, in their turn.", job=job)
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
