"""`vfexport backup` and `vfexport restore`: what the service keeps of itself, as a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import click

from vfexport_core.cli.export import actor
from vfexport_core.cli.output import PRIVATE, STDOUT, opened_output
from vfexport_core.cli.report import tell
from vfexport_core.services import backup as services
from vfexport_core.services.bootstrap import Backend
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

_as_json = click.option("--json", "as_json", is_flag=True, help="Print how many documents there are as JSON.")


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@_as_json
def backup(*, file: str, as_json: bool) -> None:
    """Write exports, deletions, the index of people in files, audit log and counters to FILE, or - for stdout.

    Exports may go on meanwhile. The files in the buckets are not in it. Keep it like the database itself: it names
    requesters and campaigns. Needs VFEXPORT_MONGO_URI.
    """
    with Backend.of_worker(load_settings()) as backend, opened_output(file, mode=PRIVATE) as out:
        counts = services.back_up(backend, cast("IO[bytes]", out))
    _tell(counts, as_json=as_json, err=file == STDOUT)


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@_as_json
def restore(*, file: str, as_json: bool) -> None:
    """Put the backup FILE (- for stdin) into a database whose collections of the service are empty.

    The database is set up first, as by `vfexport init`. The queue is paused, and stays so: compare with the buckets by
    `vfexport reconcile`, ask again for deletions that were asked for since the backup, then `vfexport queue resume`.
    Active exports that stand in the way of others (the backup was taken while one ended and the next began) are ended,
    FAILED or CANCELED; how many is told as exportsEnded.
    """
    with Backend.of_worker(load_settings()) as backend:
        if file == STDOUT:
            counts = services.restore(backend, sys.stdin.buffer, actor())
        else:
            with Path(file).open("rb") as source:
                counts = services.restore(backend, source, actor())
    _tell(counts, as_json=as_json)


def _tell(counts: Mapping[str, int], *, as_json: bool, err: bool = False) -> None:
    tell(counts, as_json=as_json, err=err)
