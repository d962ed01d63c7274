"""`vfexport demo`."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import click

from vfexport_core.catalog import all_specs, find_spec
from vfexport_core.cli.demo_view import DemoView
from vfexport_core.cli.errors import FAILED
from vfexport_core.embedded.demo import (
    FINISHED,
    Ports,
    demo_folder,
    find_checkout,
    hand_over,
    queue_exports,
    running_stack,
    watch,
)

if TYPE_CHECKING:
    from vfexport_core.embedded.demo import DemoExport, Stack

_PORT = click.IntRange(0, 65_535)
# Between two looks at whether everything is still alive.
_CHECK_SECONDS = 1.0


@click.command()
@click.option("--once", is_flag=True, help="End after the last export; status 0 only if all are FINISHED.")
@click.option(
    "--entries", default=20_000, show_default=True, type=click.IntRange(1, 1_000_000), help="Entries to load."
)
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Export only as TYPE; may be repeated.")
@click.option("--mongo-port", default=0, type=_PORT, help="MongoDB's port; a free one unless given.")
@click.option("--s3-port", default=0, type=_PORT, help="S3's port; a free one unless given.")
@click.option("--api-port", default=0, type=_PORT, help="The API's port; a free one unless given.")
@click.option("--dagster-port", default=0, type=_PORT, help="The Dagster UI's port; a free one unless given.")
def demo(
    *,
    once: bool,
    entries: int,
    types: tuple[str, ...],
    mongo_port: int,
    s3_port: int,
    api_port: int,
    dagster_port: int,
) -> None:
    """Run the whole service here and export a synthetic campaign as every type.

    Starts an embedded MongoDB and S3, the API and Dagster, queues one export of every type over HTTP, shows how they
    go and where their files are, and stays up until Ctrl-C. Everything is in .demo/ of the checkout.
    """
    wanted = [find_spec(name).type for name in types or [spec.type for spec in all_specs()]]
    checkout = find_checkout()
    ports = Ports(mongo=mongo_port, s3=s3_port, api=api_port, dagster=dagster_port)
    view = DemoView(entries)
    with demo_folder(checkout) as folder, running_stack(checkout, folder, ports, entries, view) as stack:
        exports = _export(stack, wanted, view)
        stack.wait_for_dagster()
        view.result(exports, stack.addresses)
        if not once:
            _stay(stack, view)
    if not all(export.status == FINISHED for export in exports):
        raise click.exceptions.Exit(FAILED)


def _export(stack: Stack, types: list[str], view: DemoView) -> list[DemoExport]:
    latest = queued = queue_exports(stack.client, stack.campaign_id, types, stack.buckets)
    with view.exports() as show:
        for latest in watch(stack.client, stack.campaign_id, queued, stack.check, stack.logs):
            show(latest)
    return latest


def _stay(stack: Stack, view: DemoView) -> None:
    """Wait for Ctrl-C, which is how this is meant to end."""
    view.handover(hand_over(stack))
    view.say("Ctrl-C stops everything.")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            stack.check()
            threading.Event().wait(_CHECK_SECONDS)
