"""`vfexport export`."""

from __future__ import annotations

import contextlib
import getpass
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from vfexport_core.catalog import Bucket, find_spec
from vfexport_core.cli import completion
from vfexport_core.cli.output import STDOUT, opened_output
from vfexport_core.cli.progress_display import shown
from vfexport_core.cli.queued import QueuedExport
from vfexport_core.cli.report import failure_of_export, summary_of, tell
from vfexport_core.queue.audit import Actor
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services import exports
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.direct_export import DirectExport
from vfexport_core.settings import load_settings
from vfexport_core.storage.object_keys import CONTENT_TYPES

if TYPE_CHECKING:
    from vfexport_core.catalog import ExportSpec
    from vfexport_core.queue.models import Export
    from vfexport_core.storage.buckets import BucketClients


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line, checked as far as it can be without a database."""

    campaign_id: str
    spec: ExportSpec
    date_key: str | None
    all_markets: bool
    as_json: bool


@click.command()
@click.argument("campaign", metavar="CAMPAIGN", shell_complete=completion.campaigns)
@click.argument("export_type", metavar="TYPE", shell_complete=completion.types)
@click.option("--date-key", metavar="K", help="The wave to export (codeWaves): its key, epoch milliseconds.")
@click.option("--all-markets", is_flag=True, help="One more row per additional market of a fan (entries).")
@click.option("--output", metavar="FILE", type=click.Path(dir_okay=False), help="Write to FILE, or - for stdout.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome, and an error, as JSON.")
def export(
    *, campaign: str, export_type: str, date_key: str | None, all_markets: bool, output: str | None, as_json: bool
) -> None:
    """Export the campaign with id CAMPAIGN as TYPE (entries, scoring, ...).

    The export goes through the queue: it waits until no other runs, and its file is delivered to its bucket. If
    another process takes it up first, its progress is shown. Ctrl-C cancels it.

    With --output there is neither queue nor S3: the rows are written to a file, and only VFEXPORT_MONGO_URI is needed.
    """
    wanted = Wanted(
        campaign_id=campaign,
        spec=find_spec(export_type),
        date_key=date_key,
        all_markets=all_markets,
        as_json=as_json,
    )
    exports.check_date_key(wanted.spec, wanted.date_key)
    if all_markets and not wanted.spec.has_additional_markets:
        raise click.UsageError(f"--all-markets: {wanted.spec.type} has no rows of additional markets.")
    if output is not None:
        _check_extension(wanted.spec, output)
    with Backend.of_worker(load_settings()) as backend:
        if output is None:
            _through_the_queue(wanted, backend)
        else:
            _to_output(wanted, output, backend)


def _check_extension(spec: ExportSpec, output: str) -> None:
    """Refuse a name that would say something else of the file than it is; one without an extension says nothing."""
    said = PurePath(output).suffix.lower().removeprefix(".")
    if said in CONTENT_TYPES and said != spec.extension:
        right = PurePath(output).with_suffix(f".{spec.extension}")
        raise click.UsageError(f"--output: {spec.type} is a {spec.extension.upper()} file; name it {right}.")


def _to_output(wanted: Wanted, output: str, backend: Backend) -> None:
    start = time.monotonic()
    direct = DirectExport.load(
        backend,
        wanted.spec,
        wanted.campaign_id,
        date_key=wanted.date_key,
        include_all_markets=wanted.all_markets,
    )
    with shown(wanted.spec.type, as_json=wanted.as_json) as display, opened_output(output) as out:
        expected = direct.count()
        display.expect(expected)
        written = direct.write(out, display.update, expected=expected)
    summary: dict[str, Any] = {
        "output": output,
        "rows": written.rows,
        "bytes": written.bytes,
        "sha256": out.sha256,
        "seconds": round(time.monotonic() - start, 3),
        "warnings": written.warnings,
    }
    # Where the file goes to stdout, or a person looks on, stdout has no room for the summary.
    tell(summary, as_json=wanted.as_json, err=output == STDOUT or not wanted.as_json)


def _through_the_queue(wanted: Wanted, backend: Backend) -> None:
    request = exports.ExportRequest(
        spec=wanted.spec,
        campaign_id=wanted.campaign_id,
        date_key=wanted.date_key,
        include_all_markets=wanted.all_markets,
        by=actor(),
    )
    backend.buckets.store(wanted.spec.bucket)  # refused before anything is queued if it is not configured
    with shown(wanted.spec.type, as_json=wanted.as_json) as display:
        queued = QueuedExport(backend, display)
        with _telling_the_end(queued, as_json=wanted.as_json):
            ended = queued.run(request)
    bucket = _bucket_name(ended, backend.buckets)
    if ended.status is not ExportStatus.FINISHED:
        raise failure_of_export(ended)
    tell(summary_of(ended, bucket), as_json=wanted.as_json)


@contextlib.contextmanager
def _telling_the_end(queued: QueuedExport, *, as_json: bool) -> Any:
    """Report which export it was, and how it stands, when the block does not end well."""
    try:
        yield
    except BaseException:
        if queued.export is not None and not as_json:
            with contextlib.suppress(OSError):
                click.echo(f"export {queued.export.id} is {queued.export.status}", err=True)
        raise


def _bucket_name(export: Export, buckets: BucketClients) -> str:
    """Return the bucket's name in S3: the document may have the catalog's name for it."""
    bucket = export.bucket or ""
    return buckets.store(bucket).name if bucket in set(Bucket) else bucket


def actor() -> Actor:
    """Return the same, as the audit log names them."""
    return Actor(requester(), "cli", f"cli-{uuid.uuid4()}")


def requester() -> str:
    """Return who asks, where that is whoever runs the command."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = str(os.getuid())
    return f"cli:{user}"
