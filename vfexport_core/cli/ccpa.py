"""`vfexport ccpa`: deleting users' exported data."""

from __future__ import annotations

import click

from vfexport_core.cli.export import actor
from vfexport_core.cli.report import tell
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.delete_user import delete_user
from vfexport_core.settings import load_settings

_SECONDS = 300.0


@click.group()
def ccpa() -> None:
    """Delete users' exported data. Needs MongoDB, every bucket and VFEXPORT_CCPA_HASH_KEY."""


@ccpa.command()
@click.argument("user", metavar="USER")
@click.option("--json", "as_json", is_flag=True, help="Print what was deleted, and an error, as JSON.")
def delete(*, user: str, as_json: bool) -> None:
    """Delete what was exported of the user with id USER, as DELETE /ccpa/users/USER does.

    Files and exports of every campaign in which the user has an entry, a scoring record or an assigned code are
    deleted, but for the types verifiedEntries, scoring and autoReminderEmail. Exit status 3: not complete yet; the
    service goes on by itself, and repeating the command is harmless.
    """
    with Backend(load_settings()) as backend:
        backend.check_initialised()
        record = delete_user(
            backend.deletion_tools,
            user,
            by=actor(),
            seconds=_SECONDS,
        )
    counts = {"exports": record.deleted_exports, "files": record.deleted_files}
    if as_json:
        tell({"deletedCount": counts}, as_json=True)
    else:
        click.echo(f"deleted: {counts['exports']:,} exports, {counts['files']:,} files (deletion {record.id})")
