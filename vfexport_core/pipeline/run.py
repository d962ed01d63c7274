"""One run of one export: rows to files, the files to their store, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.catalog import find_spec
from vfexport_core.ccpa.indexed_file import IndexedFile
from vfexport_core.ccpa.suppression import SuppressionList
from vfexport_core.mongo.retry import WORKER_LIMITS
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.naming import FileNaming
from vfexport_core.pipeline.object_sink import ObjectSink
from vfexport_core.pipeline.sinks import ByteStream, StreamSink
from vfexport_core.queue.models import Delivered
from vfexport_core.sources.campaigns import find_campaign
from vfexport_core.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.pipeline.attempt_context import AttemptContext
    from vfexport_core.settings import Settings
    from vfexport_core.storage.object_store import ObjectStore


def run_export(
    attempt: AttemptContext, *, settings: Settings, database: Database[Document], store: ObjectStore
) -> Delivered:
    """Write the export's files and publish them, all or nothing (L10).

    Raises CampaignNotFound, NoMarketsFound, PromotersNotFound, SourceUnavailable, DeliveryFailed, SpoolFull,
    ConfigurationError or what the attempt has to stop for; then nothing is left in the store.
    """
    export = attempt.export
    spec = find_spec(export.export_type)
    # After the claim, or the two would miss each other.
    suppression = SuppressionList.load(export, spec, settings, database, lambda: attempt.report_progress(0, 0, 0))
    indexed = IndexedFile.open(export, spec, settings, database)
    plan = ExportPlan.load(
        spec,
        find_campaign(database, export.campaign_id, limits=WORKER_LIMITS),
        database,
        settings,
        include_all_markets=export.include_all_markets,
        date_key=export.date_key,
        suppression=suppression,
        people=None if indexed is None else indexed.hasher,
    )
    naming = FileNaming(spec=spec, export=export, artist=plan.artist, prefixes=settings.sfmc_prefixes)
    pipeline = ExportPipeline(plan, database, None if indexed is None else indexed.add)
    pipeline.expected = attempt.expected
    with ObjectSink(store, naming, attempt) as sink:
        with tracing.span("scan"):
            rows = pipeline.write(sink, attempt.report_progress)
            if indexed is not None and indexed.close():
                attempt.requeue()
        with tracing.span("publish"):
            sink.publish(rows)
    return Delivered(
        bucket=store.name,
        keys=tuple(sink.keys.values()),
        rows=pipeline.counters.rows,
        bytes=sink.bytes_written,
        sha256=sink.sha256,
        meta=pipeline.counters.meta(),
        row_counts=tuple(rows[file] for file in sink.keys),
    )


def write_rows(pipeline: ExportPipeline, out: ByteStream, on_progress: Callable[[int, int, int], object]) -> int:
    """Write the export to a binary stream instead of a store and return its size; several files become one ZIP."""
    with StreamSink(out) as sink:
        sink.publish(pipeline.write(sink, on_progress))
    return sink.bytes_written
