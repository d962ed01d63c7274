"""The files as Dagster's assets: one per export type, a partition per campaign, a materialization per delivery."""

# No postponed annotations here: Dagster reads them when a check is declared.

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from vfexport_core.catalog import find_spec
from vfexport_core.catalog.dictionary import ColumnText, describe_columns, describe_type
from vfexport_core.catalog.spec import ExportSpec
from vfexport_core.ccpa.records import Deletion
from vfexport_core.queue.models import Export, ExportStatus
from vfexport_core.services.describe import CHECKS, CheckResult, Description, check_delivered
from vfexport_core.services.run_tags import CAMPAIGN_ID, EXPORT_ID
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.runs import export_type_of

GROUP = "exports"
CAMPAIGNS = dg.DynamicPartitionsDefinition(name="campaigns")


def asset_key(export_type: str) -> dg.AssetKey:
    """Return the key of a type's files: ``exports/{type}``."""
    return dg.AssetKey([GROUP, str(export_type)])


def export_assets(specs: Iterable[ExportSpec]) -> list[dg.AssetSpec]:
    """Describe the assets, so that the catalog shows a type before its first file."""
    return [
        dg.AssetSpec(
            asset_key(spec.type),
            description=describe_type(spec),
            group_name=GROUP,
            owners=["team:vfexport"],
            kinds={"s3", spec.extension},
            partitions_def=CAMPAIGNS,
            metadata={
                "bucket": spec.bucket.value,
                "job": spec.job_name,
                "dagster/column_schema": _schema(describe_columns(spec.columns)),
            },
        )
        for spec in specs
    ]


def export_checks(spec: ExportSpec) -> dg.AssetChecksDefinition:
    """Declare the checks of a type's latest file; each run makes those of its own."""
    key = asset_key(spec.type)

    @dg.multi_asset_check(
        name=f"{spec.slug}_checks",
        specs=[dg.AssetCheckSpec(name, asset=key, description=text) for name, text in CHECKS.items()],
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, mongo: MongoResource, buckets: BucketsResource
    ) -> Iterator[dg.AssetCheckResult]:
        found = mongo.backend().queue.list(export_type=spec.type, status=ExportStatus.FINISHED, limit=1)
        for result in check_delivered(found[0] if found else None, buckets.clients):
            if dg.AssetCheckKey(key, result.name) in context.selected_asset_check_keys:
                yield dg.AssetCheckResult(asset_key=key, **_check(result))

    return checks


def delivered_events(
    export: Export, told: Description, location: str | None
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """Yield what is told of a FINISHED export: numbers, place and digest of its files, columns, and its checks.

    Columns by name, never what is in them. `location` is the code location that its job is in.
    """
    key = asset_key(export.export_type)
    files = [dg.TableRecord(file._asdict() | {"link": file.link or ""}) for file in told.files]
    tables = {"files": dg.MetadataValue.table(files), "dagster/column_schema": _schema(told.columns)}
    metadata: dict[str, Any] = {**told.metadata, **tables}
    if location is not None:
        metadata["job"] = dg.MetadataValue.job(find_spec(export.export_type).job_name, location)
    if told.files and told.files[0].link is not None:
        metadata["console"] = dg.MetadataValue.url(told.files[0].link)
    yield dg.AssetMaterialization(key, metadata=metadata, partition=export.campaign_id)
    for result in told.checks():  # whatever comes of them, or of this run meanwhile: the asset has its files
        yield dg.AssetCheckEvaluation(asset_key=key, **_check(result))


def observe_deletion(instance: dg.DagsterInstance, record: Deletion) -> None:
    """Record on the assets that files of them were deleted, as far as Dagster's runs made them."""
    runs = instance.get_runs(dg.RunsFilter(tags={EXPORT_ID: sorted(record.noted_exports)}))
    about = {"deletion": record.id, "what": "files that held a person's data were deleted (CCPA)"}
    for export_type, campaign_id in {(export_type_of(run), run.tags.get(CAMPAIGN_ID)) for run in runs}:
        if export_type is not None:
            key = asset_key(export_type)
            instance.report_runless_asset_event(dg.AssetObservation(key, partition=campaign_id, metadata=about))


def _check(result: CheckResult) -> dict[str, Any]:
    severity = dg.AssetCheckSeverity.ERROR if result.is_error else dg.AssetCheckSeverity.WARN
    return {"check_name": result.name, "passed": result.passed, "description": result.text, "severity": severity}


def _schema(columns: Iterable[ColumnText]) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(one.header, one.form, description=one.source) for one in columns])
