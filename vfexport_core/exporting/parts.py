"""autoReminderEmail: several objects that appear together or, as far as S3 allows, not at all.

Every part is brought to S3 before the first is made visible; when making one visible fails, those already visible are
deleted again.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack
from datetime import UTC
from typing import TYPE_CHECKING

from vfexport_core.delivery.cleanup import remove
from vfexport_core.delivery.keys import CONTENT_TYPES, EXPORT_ID, content_disposition, key_text, staging_key
from vfexport_core.delivery.writer import ObjectWriter
from vfexport_core.errors import ConfigurationError, VfexportError
from vfexport_core.exporting.hooks import watched
from vfexport_core.exporting.writing import csv_header, spool_by_region
from vfexport_core.files.spool import Spool
from vfexport_core.queue.models import Delivered
from vfexport_core.settings import DEFAULT_SFMC_PREFIX
from vfexport_core.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vfexport_core.delivery.target import BucketTarget
    from vfexport_core.exporting.hooks import ExportHooks
    from vfexport_core.exporting.stream import Lines, RowStream
    from vfexport_core.exporting.writing import PartName
    from vfexport_core.queue.models import Export

_log = logging.getLogger(__name__)


def deliver_parts(stream: RowStream, export: Export, target: BucketTarget, hooks: ExportHooks) -> Delivered:
    """Write one object per region, locale and part; see the module. Raises as `run_export` does."""

    def progress(lines: Lines) -> None:
        hooks.on_progress(lines.read, lines.rows, 0)

    with Spool[object](limit_bytes=stream.settings.spool_max_bytes) as spool, ExitStack() as opened:
        with tracing.span("scan"):
            parts = spool_by_region(stream, spool, progress)
        keys = _keys(sorted(parts), stream, export, shared=False)
        if hooks.is_taken(keys.values()):
            keys = _keys(sorted(parts), stream, export, shared=True)
        hooks.note_keys(target.name, tuple(keys.values()))
        writers: list[ObjectWriter] = []
        header, written = csv_header(stream), 0
        for number, (part, key) in enumerate(keys.items(), start=1):
            writer = opened.enter_context(watched(_writer(target, key, stream, export, number), hooks))
            writer.write(header)
            for data in spool.read(part):
                writer.write(data)
            writer.prepare()
            writers.append(writer)
            written += writer.bytes_written
            hooks.on_progress(stream.read, stream.rows, written)
        with tracing.span("publish"):
            _publish(writers, [parts[part] for part in keys], target, export.id, hooks)
    return Delivered(
        bucket=target.name,
        keys=tuple(keys.values()),
        rows=stream.rows,
        bytes=written,
        sha256=tuple(writer.sha256 for writer in writers),
        meta=stream.meta(),
    )


def _keys(parts: list[PartName], stream: RowStream, export: Export, *, shared: bool) -> dict[PartName, str]:
    """Give each part its key; raises ConfigurationError when the prefixes of two regions make theirs the same."""
    prefixes = stream.settings.sfmc_prefixes
    keys = {part: part_key(part, stream.artist, export, prefixes, shared_minute=shared) for part in parts}
    (key, count) = Counter(keys.values()).most_common(1)[0] if keys else ("", 1)
    if count > 1:
        regions = ", ".join(part.region for part, own in keys.items() if own == key)
        raise ConfigurationError(
            f"VFEXPORT_SFMC_PREFIXES: regions {regions} would write over each other's files",
            payload="VFEXPORT_SFMC_PREFIXES",
        )
    return keys


def part_key(
    part: PartName, artist: str, export: Export, prefixes: Mapping[str, str], *, shared_minute: bool = False
) -> str:
    """Give the key under which SFMC looks for a part.

    Attempts after the first add theirs, and exports that were asked for in the same minute as another one of the
    campaign their id, so that no key is shared: cleaning up after one would take the other's file away.
    """
    prefix = prefixes.get(part.region, DEFAULT_SFMC_PREFIX).replace("{Region}", part.region)
    moment = export.date.created.astimezone(UTC).strftime("%Y%m%d%H%M")
    own = f"-{export.id}" if shared_minute else ""
    own += f"-{export.attempt}" if export.attempt > 1 else ""
    name = f"{key_text(artist)}_{part.locale}_{export.campaign_id}_{moment}{own}_{part.number:03}.csv"
    return f"{prefix}_{name}"


def _writer(target: BucketTarget, key: str, stream: RowStream, export: Export, number: int) -> ObjectWriter:
    return ObjectWriter(
        target,
        key,
        staging_key=staging_key(export.id, export.attempt, number),
        acl=stream.spec.acl,
        content_type=CONTENT_TYPES["csv"],
        content_disposition=content_disposition(key.rpartition("/")[2]),
        metadata={EXPORT_ID: export.id, "export-type": stream.spec.type},
    )


def _publish(
    writers: list[ObjectWriter], rows: list[int], target: BucketTarget, export_id: str, hooks: ExportHooks
) -> None:
    reached: list[str] = []
    try:
        for writer, count in zip(writers, rows, strict=True):
            reached.append(writer.key)  # before, so that an interrupt cannot fall in between
            writer.publish({"row-count": str(count)}, hooks.confirm)
    except BaseException:
        try:
            remove(target, reached, export_id)
        except VfexportError as error:
            # The attempt's noted keys say what is left; the error that led here says more to people.
            _log.warning("some of %d files may be left: %s", len(reached), error.message)
        raise
