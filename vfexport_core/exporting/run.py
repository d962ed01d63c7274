"""One run of one export: rows to a file, the file to S3, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from vfexport_core.catalog import find_spec
from vfexport_core.delivery.keys import content_disposition, download_name, object_key
from vfexport_core.delivery.writer import ObjectWriter
from vfexport_core.exporting.stream import open_rows
from vfexport_core.queue.models import Delivered
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.delivery.buckets import BucketClients
    from vfexport_core.exporting.stream import EntryRows
    from vfexport_core.queue.models import Document, Export
    from vfexport_core.settings import Settings

_CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "zip": "application/zip"}


@dataclass(frozen=True, slots=True)
class ExportHooks:
    """What a run tells its owner, and asks it; each may raise LeaseLost, which ends the run without a trace on S3.

    `on_progress` gets documents read, rows and bytes written so far, after every batch; `note_keys` the bucket and the
    keys before anything is completed under them; `confirm` is the fence (L6), asked directly before the file appears.
    """

    on_progress: Callable[[int, int, int], None]
    note_keys: Callable[[str, tuple[str, ...]], None]
    confirm: Callable[[], None]


def run_export(
    export: Export,
    *,
    settings: Settings,
    database: Database[Document],
    buckets: BucketClients,
    hooks: ExportHooks,
) -> Delivered:
    """Write the export's file and publish it, all or nothing (L10).

    Raises CampaignNotFound, NoMarketsFound, SourceUnavailable, DeliveryFailed, ConfigurationError (a bucket without
    settings) or what a hook raises; then neither object nor upload is left behind.
    """
    spec = find_spec(export.export_type)
    target = buckets.target(spec.bucket)
    campaign = find_campaign(database, export.campaign_id)
    rows = open_rows(spec, campaign, database, settings, include_all_markets=export.include_all_markets)
    key = _key(export, spec)
    writer = ObjectWriter(
        target,
        key,
        acl=spec.acl,
        content_type=_CONTENT_TYPES[spec.extension],
        content_disposition=content_disposition(download_name(export.campaign_name, spec.type, spec.extension)),
        metadata={"export-id": export.id, "export-type": spec.type},
    )
    hooks.note_keys(target.name, (key,))
    with writer:
        for block in rows.blocks():
            writer.write(block.data)
            hooks.on_progress(block.read, block.rows, writer.bytes_written)
        writer.prepare()
        writer.publish({"sha256": writer.sha256, "row-count": str(rows.rows)}, hooks.confirm)
    return Delivered(
        bucket=target.name,
        keys=(key,),
        rows=rows.rows,
        bytes=writer.bytes_written,
        sha256=(writer.sha256,),
        meta=_meta(rows),
    )


def write_rows(rows: EntryRows, out: BinaryIO, on_progress: Callable[[int, int, int], None]) -> int:
    """Write the file to a binary stream instead of S3; gives the bytes written."""
    written = 0
    for block in rows.blocks():
        out.write(block.data)
        written += len(block.data)
        on_progress(block.read, block.rows, written)
    return written


def _key(export: Export, spec: ExportSpec) -> str:
    return object_key(
        export.campaign_id,
        export.campaign_name,
        spec.type,
        export.date.created,
        export.id,
        export.attempt,
        spec.extension,
    )


def _meta(rows: EntryRows) -> Document:
    return {"read": rows.read, "warnings": dict(rows.warnings.counts), "skipped": dict(rows.skipped.counts)}
