"""`vfexport retention`: what is older than the retention period."""

from __future__ import annotations

from typing import Any

import click

from vfexport_core.cli.errors import FAILED
from vfexport_core.cli.export import actor
from vfexport_core.cli.report import tell
from vfexport_core.queue.models import iso
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.retention import Retention
from vfexport_core.settings import load_settings


@click.command()
@click.option("--apply", "applies", is_flag=True, help="Take it away; without this it is only listed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def retention(*, applies: bool, as_json: bool) -> None:
    """List the exports that ended more than VFEXPORT_RETENTION_DAYS ago; with --apply take files and documents away.

    The files of an export go first, in all versions, then its document. Exit status 1 when something is left.
    """
    told: list[dict[str, Any]] = []
    with Backend.of_worker(load_settings()) as backend:
        kept = Retention.from_settings(backend)
        backend.check_initialised()
        for one in kept.apply(actor()) if applies else kept.plan():
            export = one.export
            told.append({"id": export.id, "exportType": export.export_type, "campaignId": export.campaign_id})
            told[-1] |= {"created": iso(export.date.created), "files": one.files, "problem": one.problem}
            if not as_json:
                state = one.problem or ("taken away" if applies else "to be taken away")
                click.echo(f"{export.id} {export.export_type} of {iso(export.date.created)}: {state}")
    left = sum(one["problem"] is not None for one in told)
    if as_json:
        tell({"exports": told, "applied": applies, "left": left}, as_json=True)
    else:
        click.echo(f"{len(told)} exports that ended more than {kept.days} days ago, {left} left")
    if left:
        raise click.exceptions.Exit(FAILED)
