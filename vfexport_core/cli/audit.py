"""`vfexport audit`: who asked for what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from vfexport_core.queue.audit import AuditAction
from vfexport_core.queue.models import iso
from vfexport_core.services.bootstrap import Backend
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from datetime import datetime

    from vfexport_core.queue.audit import AuditEntry

_COLUMNS = (("AT", 24), ("SOURCE", 7), ("SUBJECT", 20), ("ACTION", 10), ("TARGET", 24), ("TYPE", 20), ("OUTCOME", 0))


@click.command()
@click.option("--target", metavar="ID", help="Only about this export, or this deletion.")
@click.option("--subject", metavar="NAME", help="Only of this subject of a token, or `cli:` and a user.")
@click.option("--action", type=click.Choice([*AuditAction], case_sensitive=False), help="Only this action.")
@click.option("--since", type=click.DateTime(), metavar="DATE", help="Only from then on (UTC).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="As many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(
    *, target: str | None, subject: str | None, action: str | None, since: datetime | None, limit: int, as_json: bool
) -> None:
    """List who requested, cancelled, retried, downloaded and deleted what, newest first. Needs VFEXPORT_MONGO_URI.

    An entry with an outcome was refused, by the error of that code. A download is an address that was given out.
    """
    with Backend(load_settings()) as backend:
        found = backend.audit.find(
            target=target,
            subject=subject,
            action=None if action is None else AuditAction(action),
            since=since,
            limit=limit,
        )
    if as_json:
        click.echo(json.dumps([_wire(entry) for entry in found], ensure_ascii=False))
        return
    click.echo(_line(*(name for name, _ in _COLUMNS)))
    for entry in found:
        about = (entry.target or "", entry.export_type or "", entry.outcome or "")
        click.echo(_line(iso(entry.at), entry.source, entry.subject, entry.action.value, *about))


def _wire(entry: AuditEntry) -> dict[str, Any]:
    fields = {
        "at": iso(entry.at),
        "subject": entry.subject,
        "source": entry.source,
        "action": entry.action.value,
        "target": entry.target,
        "campaignId": entry.campaign_id,
        "exportType": entry.export_type,
        "correlationId": entry.correlation_id,
        "outcome": entry.outcome,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _line(*cells: str) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, (_, width) in zip(cells, _COLUMNS, strict=True)).rstrip()
