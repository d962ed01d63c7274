"""What a finished command tells: a table for people, JSON for machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from vfexport_core.cli.errors import FAILED, PASSING, CommandFailed, Failure
from vfexport_core.cli.hints import hint_of_class
from vfexport_core.errors import (
    INTERNAL_CODE,
    ExportCanceled,
    ExportExpired,
    TransientError,
    VfexportError,
    error_class,
)
from vfexport_core.queue.models import ExportStatus
from vfexport_core.telemetry.progress import MEGABYTE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from vfexport_core.queue.models import Export

_LABELS = {"exportId": "export", "sha256": "SHA-256"}


def summary_of(export: Export, bucket: str) -> dict[str, Any]:
    """Return the figures of a FINISHED export; `bucket` is the bucket's name in S3."""
    digests = [export.sha256[key] for key in export.keys]
    one = len(export.keys) == 1
    return {
        "exportId": export.id,
        "status": export.status.value,
        "bucket": bucket,
        **({"key": export.keys[0]} if one else {"keys": list(export.keys)}),
        "rows": export.count,
        "bytes": export.bytes,
        "sha256": digests[0] if one else digests,
        "seconds": None if export.seconds is None else round(export.seconds, 3),
        "warnings": (export.meta or {}).get("warnings", {}),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> list[str]:
    """Return the lines of a table, each column as wide as its longest cell; those in `right` are flush right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    sides = [">" if name in right else "<" for name in header]
    cells = [
        [f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)]
        for row in (header, *rows)
    ]
    return ["  ".join(row).rstrip() for row in cells]


def tell(summary: Mapping[str, Any], *, as_json: bool, err: bool = False) -> None:
    """Print a summary to stdout, or to stderr."""
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False), err=err)
        return
    for name, value in summary.items():
        if value in (None, {}):
            continue
        label = _LABELS.get(name, name)
        first, *others = _values(name, value)
        click.echo(f"{click.style(f'{label:<9}', bold=True)} {first}", err=err)
        for other in others:
            click.echo(f"{'':<9} {other}", err=err)


def failure_of_export(export: Export) -> CommandFailed:
    """Return the failure that ends a command whose export ended, elsewhere, in any way but FINISHED."""
    error = export.error or {}
    endings: dict[ExportStatus, type[VfexportError]] = {
        ExportStatus.EXPIRED: ExportExpired,
        ExportStatus.CANCELED: ExportCanceled,
    }
    code = error.get("code") or endings.get(export.status, VfexportError).code
    cls = error_class(code)
    failure = Failure(
        code=code or INTERNAL_CODE,
        message=error.get("message") or f"the export is {export.status}",
        hint=hint_of_class(cls),
        payload=error.get("payload") or export.id,
        status=PASSING if issubclass(cls, TransientError) else FAILED,
    )
    return CommandFailed(failure)


def _values(name: str, value: Any) -> list[str]:
    """Write a value for people, one line per file where there are several."""
    if isinstance(value, dict):
        return [", ".join(f"{key} {count:,}" for key, count in value.items())]
    if isinstance(value, list):
        return [str(item) for item in value] or ["none"]
    if name == "bytes":
        return [f"{value:,} ({value / MEGABYTE:,.1f} MB)"]
    return [f"{value:,}" if isinstance(value, int) else str(value)]
