"""`vfexport exports`: the queue from a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from vfexport_core.api.presenters import export_json
from vfexport_core.catalog import find_spec
from vfexport_core.cli import completion
from vfexport_core.cli.delivered import download
from vfexport_core.cli.export import actor
from vfexport_core.cli.report import table, tell
from vfexport_core.queue.models import ExportStatus, iso
from vfexport_core.queue.statistics.estimates import Estimator
from vfexport_core.services import exports as services
from vfexport_core.services.bootstrap import Backend
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from vfexport_core.queue.models import Attempt, Export

_COLUMNS = ("EXPORT", "TYPE", "WAVE", "STATUS", "ERROR", "CREATED", "SECONDS", "ROWS", "SOURCE", "CAMPAIGN")
_export_id = click.argument("export_id", metavar="EXPORT", shell_complete=completion.exports)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def exports() -> None:
    """Look at the queue, run exports again, cancel them, download files. Needs VFEXPORT_MONGO_URI."""


exports.add_command(download)


@exports.command("list")
@click.option("--campaign", metavar="ID", help="Only of this campaign.", shell_complete=completion.campaigns)
@click.option("--type", "export_type", metavar="TYPE", help="Only of this type.", shell_complete=completion.types)
@click.option("--status", type=click.Choice([*ExportStatus], case_sensitive=False), help="Only with this status.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="As many at most.")
@_as_json
def list_exports(
    *, campaign: str | None, export_type: str | None, status: str | None, limit: int, as_json: bool
) -> None:
    """List exports, newest first."""
    with Backend(load_settings()) as backend:
        found = backend.queue.list(
            campaign_id=campaign,
            export_type=None if export_type is None else find_spec(export_type).type,
            status=None if status is None else ExportStatus(status),
            limit=limit,
        )
        if not found and campaign is not None:
            backend.campaign(campaign)  # an empty list may mean that there is no such campaign
    if as_json:
        click.echo(json.dumps([_summary(export) for export in found], ensure_ascii=False))
        return
    for line in table(_COLUMNS, [_cells(export) for export in found], right=("SECONDS", "ROWS")):
        click.echo(line)


@exports.command()
@_export_id
@_as_json
def show(*, export_id: str, as_json: bool) -> None:
    """Show the export with id EXPORT: its place in the queue, its attempts, how it ended."""
    with Backend(load_settings()) as backend:
        export = services.read(backend, export_id)
        estimator = Estimator(backend.queue)
        place, ends_in_seconds = estimator.estimate(export), estimator.ends_in_seconds(export)
    summary = _summary(export) | {"attempts": [_attempt(attempt) for attempt in export.attempts]}
    if place is not None:
        reason = {} if place.reason is None else {"reason": place.reason}
        summary["queue"] = {"position": place.position, "startsInSeconds": place.starts_in_seconds} | reason
    if ends_in_seconds is not None:
        summary["endsInSeconds"] = ends_in_seconds
    _tell(summary, as_json=as_json)


@exports.command()
@_export_id
@_as_json
def retry(*, export_id: str, as_json: bool) -> None:
    """Run the FAILED, EXPIRED or CANCELED export with id EXPORT again, in a new attempt."""
    with Backend(load_settings()) as backend:
        _tell(_summary(services.retry(backend, export_id, by=actor())), as_json=as_json)


@exports.command()
@_export_id
@_as_json
def cancel(*, export_id: str, as_json: bool) -> None:
    """Cancel the export with id EXPORT: at once if it is PENDING, by its run if it is TRIGGERED."""
    with Backend(load_settings()) as backend:
        _tell(_summary(services.cancel(backend, export_id, by=actor())), as_json=as_json)


def _cells(export: Export) -> tuple[str, ...]:
    seconds = _seconds(export)
    delivered = export.status is ExportStatus.FINISHED and export.count is not None
    return (
        export.id,
        export.export_type,
        export.date_key or "",
        export.status.value,
        (export.error or {}).get("code", ""),
        iso(export.date.created),
        "" if seconds is None else f"{seconds:,.1f}",
        f"{export.count:,}" if delivered else "",
        export.source,
        export.campaign_name,
    )


def _seconds(export: Export) -> float | None:
    """Return how long the run took, by MongoDB's clock; None while it has not ended, or was never begun."""
    date = export.date
    ended = date.finished or date.failed or date.expired or date.canceled
    return None if date.triggered is None or ended is None else (ended - date.triggered).total_seconds()


def _summary(export: Export) -> dict[str, Any]:
    """Return an export as the API does, with what operators need besides."""
    summary = export_json(export) | {"source": export.source, "correlationId": export.correlation_id}
    if export.run_id is not None:
        summary["runId"] = export.run_id
    if export.bucket is not None:
        summary["bucket"] = export.bucket
    if export.status is ExportStatus.TRIGGERED and export.cancel_requested is not None:
        summary["cancelRequested"] = iso(export.cancel_requested)
    return summary


def _attempt(attempt: Attempt) -> dict[str, Any]:
    moments = {"triggered": attempt.triggered, "ended": attempt.ended}
    fields: dict[str, Any] = {"attempt": attempt.attempt, "status": attempt.status.value, "runId": attempt.run_id}
    fields |= {name: iso(moment) for name, moment in moments.items() if moment is not None}
    return fields if attempt.error is None else fields | {"error": attempt.error}


def _tell(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        tell(summary, as_json=True)
        return
    texts = {name: _text(value) for name, value in summary.items()}
    width = max(map(len, texts))
    for name, text in texts.items():
        click.echo(f"{click.style(f'{name:<{width}}', bold=True)}  {text}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items() if item is not None)
    if isinstance(value, list):
        return "; ".join(_text(item) for item in value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
