"""What is told of a delivered export beside the export itself: its columns, its files, whether all is as it should be.

Nothing of what is in the file: names, sources and numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from vfexport_core.catalog import find_spec
from vfexport_core.catalog.dictionary import ColumnText, describe_columns
from vfexport_core.errors import DeliveryRefused, VfexportError
from vfexport_core.storage.console import console_url
from vfexport_core.storage.object_store import SHA256

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.queue.models import Delivered, Export
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.storage.buckets import BucketClients

WARNED_SHARE = 0.1
"""Of so large a share of rows with a warning an operator should know."""

CHECKS = {
    "file_in_store": "Each file is in its bucket, with the recorded SHA-256 and size.",
    "has_rows": "There are rows where documents were read.",
    "few_warnings": f"At most {WARNED_SHARE:.0%} of the rows have a warning (an unknown user or market, for example).",
}
"""What can be checked of an export, by name."""


class FileText(NamedTuple):
    """A file of an export; `link` leads to it in the console of its store, where that is known."""

    key: str
    rows: int
    sha256: str
    link: str | None


class CheckResult(NamedTuple):
    """What came of one of the `CHECKS`; `is_error`: the file cannot be relied on."""

    name: str
    passed: bool
    text: str
    is_error: bool = True


@dataclass(frozen=True, slots=True)
class Description:
    """What is told of a FINISHED export: its metadata by name, its files, its columns, its checks.

    `checks` makes the checks: it asks the store, so whatever is known without it can be recorded before.
    """

    metadata: dict[str, str | int | float]
    files: list[FileText]
    columns: list[ColumnText]
    checks: Callable[[], list[CheckResult]]


def describe_delivered(backend: Backend, export: Export, delivered: Delivered) -> Description:
    """Describe what a run has delivered, with the checks to be made of it."""
    files = files_of(backend, export, delivered)
    metadata = {
        "rows": export.count or 0,
        "bytes": export.bytes or 0,
        "seconds": export.seconds or 0.0,
        "rows_per_second": export.rows_per_second,
        "s3_uri": "\n".join(f"s3://{export.bucket}/{file.key}" for file in files),
        "sha256": "\n".join(file.sha256 for file in files),
        "export_id": export.id,
        "campaign_id": export.campaign_id,
        "campaign": export.campaign_name,
    }
    checks = partial(check_delivered, export, backend.buckets)
    return Description(metadata, files, columns_of(backend, export), checks)


def columns_of(backend: Backend, export: Export) -> list[ColumnText]:
    """Return the columns of an export's files, those of the campaign's preferences one by one, if it can be read."""
    from vfexport_core.rows.render import resolve_columns  # noqa: PLC0415 it loads Arrow

    spec = find_spec(export.export_type)
    try:
        return describe_columns(resolve_columns(spec, backend.campaign(export.campaign_id)))
    except VfexportError:
        return describe_columns(spec.columns)


def files_of(backend: Backend, export: Export, delivered: Delivered) -> list[FileText]:
    """Return the files that were delivered, in their order."""
    _, settings = backend.buckets.find(find_spec(export.export_type).bucket)
    found = zip(delivered.keys, delivered.row_counts, delivered.sha256, strict=True)
    return [FileText(key, rows, digest, console_url(settings, key)) for key, rows, digest in found]


def check_delivered(export: Export | None, buckets: BucketClients) -> list[CheckResult]:
    """Return what came of the `CHECKS` of a FINISHED export; its files are asked for, not read, and not for long."""
    if export is None:
        return [CheckResult(name, True, "there is no file yet") for name in CHECKS]
    rows, meta = export.count or 0, export.meta or {}
    read, warned = meta.get("read", 0), sum(meta.get("warnings", {}).values())
    share = warned / rows if rows else 0.0
    return [
        _check_files(export, buckets),
        CheckResult("has_rows", rows > 0 or not read, f"{rows:,} rows of {read:,} documents"),
        CheckResult("few_warnings", share <= WARNED_SHARE, f"{warned:,} warnings, {share:.1%} of the rows", False),
    ]


def _check_files(export: Export, buckets: BucketClients) -> CheckResult:
    name, size = "file_in_store", 0
    bucket = buckets.impatient(find_spec(export.export_type).bucket)
    try:
        for key in export.keys:
            found = bucket.call("head_object", {"Key": key})
            size += found["ContentLength"]
            if found["Metadata"].get(SHA256) != export.sha256[key]:
                return CheckResult(name, False, f"{key} is not what was delivered: its SHA-256 is another")
    except DeliveryRefused as error:
        return CheckResult(name, False, error.message)
    except VfexportError as error:
        return CheckResult(name, False, f"it could not be looked for: {error.message}", is_error=False)
    if size != export.bytes:
        return CheckResult(name, False, f"{size:,} bytes instead of {export.bytes or 0:,}")
    return CheckResult(name, True, f"{len(export.keys)} with {size:,} bytes, as recorded")
