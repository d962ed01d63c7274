"""`vfexport queue`: pausing, resuming and draining the queue, for maintenance and roll-outs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from vfexport_core.cli.export import actor
from vfexport_core.cli.report import tell
from vfexport_core.queue.models import iso
from vfexport_core.services import control_queue
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.claim import WaitPolicy
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from datetime import datetime

    from vfexport_core.queue.models import Export
    from vfexport_core.queue.pause import Pause

_reason = click.option("--reason", metavar="TEXT", help="Why; whoever asks for an export is told.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def queue() -> None:
    """Pause the queue, resume it, wait until nothing runs. Needs VFEXPORT_MONGO_URI.

    While it is paused requests are taken and wait as PENDING, and nothing is claimed: not by Dagster's runs, not by
    `vfexport export`. What runs goes on.
    """


@queue.command()
@_reason
@_as_json
def pause(*, reason: str | None, as_json: bool) -> None:
    """Let nothing begin until the queue is resumed. Again: say anew why."""
    with Backend(load_settings()) as backend:
        control_queue.pause(backend, reason, actor())
        _tell_status(backend, as_json=as_json)


@queue.command()
@_as_json
def resume(*, as_json: bool) -> None:
    """Let exports begin again, oldest first; harmless when the queue is not paused."""
    with Backend(load_settings()) as backend:
        control_queue.resume(backend, actor())
        _tell_status(backend, as_json=as_json)


@queue.command()
@_reason
@click.option(
    "--wait", "seconds", type=click.FloatRange(0), default=math.inf, metavar="SECONDS", help="Wait for so long at most."
)
@_as_json
def drain(*, reason: str | None, seconds: float, as_json: bool) -> None:
    """Pause the queue and wait until nothing runs. Exit status 3: something still ran after SECONDS.

    The queue stays paused, until `vfexport queue resume`. An export that is late, or whose worker is lost, is ended
    meanwhile.
    """
    told: set[str] = set()

    def note(export: Export) -> None:
        if export.id not in told and not as_json:
            told.add(export.id)
            click.echo(f"waiting for export {export.id} ({export.export_type})", err=True)

    with Backend(load_settings()) as backend:
        control_queue.pause(backend, reason, actor())
        control_queue.drain(backend.queue, WaitPolicy.from_settings(backend.settings, most_seconds=seconds), note)
        _tell_status(backend, as_json=as_json)


@queue.command()
@_as_json
def status(*, as_json: bool) -> None:
    """Show whether the queue is paused, since when and why, what waits and what runs."""
    with Backend(load_settings()) as backend:
        _tell_status(backend, as_json=as_json)


def _tell_status(backend: Backend, *, as_json: bool) -> None:
    found = control_queue.read_status(backend.queue)
    running, pending = found.running, found.depth.pending
    summary: dict[str, Any] = {
        "paused": _pause(found.paused, as_json=as_json),
        "pending": pending.count,
        "oldest": _moment(pending.since),
        "running": None if running is None else running.id,
        "hanging": sorted(found.depth.hanging) or None,
    }
    if as_json:
        tell(summary, as_json=True)
        return
    tell(
        summary
        | {
            "running": "nothing"
            if running is None
            else f"{running.id} ({running.export_type}) since {_moment(running.date.triggered)}"
        },
        as_json=False,
    )


def _pause(pause: Pause | None, *, as_json: bool) -> dict[str, Any] | str | None:
    if as_json:
        return pause and {"since": _moment(pause.since), "reason": pause.reason, "by": pause.by}
    if pause is None:
        return "no"
    return f"since {_moment(pause.since)} by {pause.by}" + (f": {pause.reason}" if pause.reason else "")


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
