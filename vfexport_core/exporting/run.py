"""One run of one export: rows to files, the files to S3, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from vfexport_core.catalog import find_spec
from vfexport_core.catalog.spec import Shape
from vfexport_core.ccpa.exclusion import SuppressionList
from vfexport_core.delivery.keys import (
    CONTENT_TYPES,
    content_disposition,
    download_name,
    object_key,
    staging_key,
)
from vfexport_core.delivery.writer import ObjectWriter
from vfexport_core.exporting.hooks import watched
from vfexport_core.exporting.parts import deliver_parts
from vfexport_core.exporting.stream import RowStream
from vfexport_core.exporting.writing import write_file
from vfexport_core.queue.models import Delivered
from vfexport_core.sources.campaigns import find_campaign
from vfexport_core.sources.retry import ATTEMPTS
from vfexport_core.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.delivery.buckets import BucketClients
    from vfexport_core.delivery.target import BucketTarget
    from vfexport_core.exporting.hooks import ExportHooks
    from vfexport_core.queue.models import Document, Export
    from vfexport_core.settings import Settings


def run_export(
    export: Export,
    *,
    settings: Settings,
    database: Database[Document],
    buckets: BucketClients,
    hooks: ExportHooks,
) -> Delivered:
    """Write the export's files and publish them, all or nothing (L10).

    Raises CampaignNotFound, NoMarketsFound, PromotersNotFound, SourceUnavailable, DeliveryFailed, SpoolFull,
    ConfigurationError (a bucket without settings) or what a hook raises; then nothing is left on S3.
    """
    spec = find_spec(export.export_type)
    target = buckets.target(spec.bucket)
    # After the claim, or the two would miss each other.
    left_out = SuppressionList.load(export, spec, settings, database, lambda: hooks.on_progress(0, 0, 0))
    stream = RowStream(
        spec,
        find_campaign(database, export.campaign_id, attempts=ATTEMPTS),
        database,
        settings,
        include_all_markets=export.include_all_markets,
        date_key=export.date_key,
        left_out=left_out,
    )
    if spec.shape is Shape.FILES_BY_REGION:
        return deliver_parts(stream, export, target, hooks)
    return _deliver_file(stream, export, target, hooks)


def write_rows(stream: RowStream, out: BinaryIO, on_progress: Callable[[int, int, int], None]) -> int:
    """Write the export to a binary stream instead of S3 and give its size; several files become one ZIP."""
    return write_file(stream, out.write, on_progress)


def _deliver_file(stream: RowStream, export: Export, target: BucketTarget, hooks: ExportHooks) -> Delivered:
    spec = stream.spec
    key = object_key(
        export.campaign_id,
        export.campaign_name,
        spec.type,
        export.date.created,
        export.id,
        export.attempt,
        spec.extension,
    )
    hooks.note_keys(target.name, (key,))
    writer = ObjectWriter(
        target,
        key,
        staging_key=staging_key(export.id, export.attempt, 1),
        acl=spec.acl,
        content_type=CONTENT_TYPES[spec.extension],
        content_disposition=content_disposition(download_name(export.campaign_name, spec.type, spec.extension)),
        metadata={"export-id": export.id, "export-type": spec.type},
    )
    with watched(writer, hooks):
        with tracing.span("scan"):
            write_file(stream, writer.write, hooks.on_progress)
        with tracing.span("publish"):
            writer.publish({"row-count": str(stream.rows)}, hooks.confirm)
    return Delivered(
        bucket=target.name,
        keys=(key,),
        rows=stream.rows,
        bytes=writer.bytes_written,
        sha256=(writer.sha256,),
        meta=stream.meta(),
    )
