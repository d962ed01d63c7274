"""`vfexport exports download` and `vfexport verify`: what was delivered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfexport_core.catalog import find_spec
from vfexport_core.cli import completion
from vfexport_core.cli.export import actor
from vfexport_core.cli.output import PRIVATE, STDOUT, opened_output
from vfexport_core.cli.progress_display import shown
from vfexport_core.cli.report import tell
from vfexport_core.errors import FileDiffers, OutputFailed
from vfexport_core.queue.audit import AuditAction
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.delivered import download_name_of, finished
from vfexport_core.services.delivered import verify as verify_export
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from vfexport_core.queue.models import Export
    from vfexport_core.services.delivered import Verification
    from vfexport_core.storage.object_store import ObjectStore

_export_id = click.argument("export_id", metavar="EXPORT", shell_complete=completion.exports)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_export_id
@click.option("--output", metavar="FILE", help="Write to FILE (a folder where there are several), or - for stdout.")
@_as_json
def download(*, export_id: str, output: str | None, as_json: bool) -> None:
    """Download the file of the FINISHED export with id EXPORT, under the name that the API gives it.

    Its SHA-256 is checked on the way: a file that is not as it was delivered is not kept. Without --output a file that
    is there already is not replaced.
    """
    with Backend(load_settings()) as backend:
        export, store = finished(backend, export_id)
        targets = _targets(export, output)  # what is refused here is no download
        backend.audit.note(actor(), AuditAction.DOWNLOAD, export.id, export)
        summaries = [_download(export, store, key, target, as_json=as_json) for key, target in targets]
    for summary in summaries:
        tell(summary, as_json=as_json, err=output == STDOUT)


def _targets(export: Export, output: str | None) -> list[tuple[str, str]]:
    """Return where each of the export's files is written to."""
    if len(export.keys) == 1:
        own = download_name_of(export, find_spec(export.export_type).extension)
        targets = [output or own]
    else:
        if output == STDOUT:
            raise click.UsageError(f"--output: the export has {len(export.keys)} files; name a folder.")
        # The same name may be in the folders of two regions.
        targets = [str(Path(output or ".") / key.replace("/", "_")) for key in export.keys]
    for target in targets:
        if output is None and Path(target).exists():
            raise OutputFailed(f"{target} is there already", payload=target, hint="Name another file with --output.")
    return list(zip(export.keys, targets, strict=True))


def _download(export: Export, store: ObjectStore, key: str, target: str, *, as_json: bool) -> dict[str, Any]:
    size = 0
    with shown("download", as_json=as_json) as display, opened_output(target, mode=PRIVATE) as out:
        for piece in store.read(key):
            size += out.write(piece)
            display.update(0, 0, size)
        recorded = export.sha256[key]
        if out.sha256 != recorded:  # within the block, so that nothing is left
            raise FileDiffers(f"{key}: its SHA-256 is {out.sha256}, {recorded} was recorded", payload=export.id)
    return {"output": target, "bucket": store.name, "key": key, "bytes": size, "sha256": recorded}


@click.command()
@_export_id
@_as_json
def verify(*, export_id: str, as_json: bool) -> None:
    """Read the files of the FINISHED export with id EXPORT back, and hold them against its record.

    SHA-256, size and rows; the rows are counted anew. How many documents the same export would read now is told
    besides: what the sources have become is no fault of a file. Exit status 1 when anything is not as recorded.
    """
    with Backend(load_settings()) as backend, shown("verify", as_json=as_json) as display:
        found = verify_export(backend, export_id, lambda size: display.update(0, 0, size))
    _tell(found, as_json=as_json)
    if found.problems:
        raise FileDiffers("; ".join(found.problems), payload=found.export.id)


def _tell(found: Verification, *, as_json: bool) -> None:
    read = (found.export.meta or {}).get("read")
    if as_json:
        click.echo(json.dumps(_summary(found, read), ensure_ascii=False))
        return
    for file in found.files:
        click.echo(f"{'ok     ' if file.problem is None else 'differs'}  {file.sha256 or '-':<64}  {file.key}")
    click.echo(f"rows       {found.rows:,} of {found.export.count:,} recorded")
    click.echo(f"bytes      {found.bytes:,} of {found.export.bytes:,} recorded")
    then = "" if read is None else f"; {read:,} were read"
    click.echo(f"documents  {found.documents:,} to read now{then}")


def _summary(found: Verification, read: int | None) -> dict[str, Any]:
    return {
        "exportId": found.export.id,
        "bucket": found.bucket,
        "ok": not found.problems,
        "files": [
            {
                "key": file.key,
                "sha256": file.sha256,
                "recordedSha256": file.recorded_sha256,
                "bytes": file.bytes,
                "rows": file.rows,
                **({} if file.problem is None else {"problem": file.problem}),
            }
            for file in found.files
        ],
        "rows": found.rows,
        "recordedRows": found.export.count,
        "bytes": found.bytes,
        "recordedBytes": found.export.bytes,
        "documentsNow": found.documents,
        "documentsRead": read,
    }
