"""`vfexport seed`."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vfexport_core.embedded.synthetic import DATE_KEYS, DEFAULT_NAME, seed_campaign
from vfexport_core.mongo.client import opened
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

MOST_ENTRIES = 1_000_000
LINE_SECONDS = 2.0


@click.command()
@click.option("--entries", type=click.IntRange(1, MOST_ENTRIES), required=True, help="How many fans signed up.")
@click.option("--campaign-name", default=DEFAULT_NAME, show_default=True, help="The campaign's name.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other fans and another campaign.")
@click.option("--json", "as_json", is_flag=True, help="Print id, name, entries and wave keys as JSON.")
def seed(*, entries: int, campaign_name: str, seed: int, as_json: bool) -> None:
    """Load a synthetic campaign and print its id.

    Invented fans with users, markets, scoring, codes, waves and promoters, dirty as real data is; everything follows
    from the name and the seed. A campaign that is loaded already is refused, what an interrupted load left is replaced.
    The source collections' indexes are created too. Needs VFEXPORT_MONGO_URI.
    """
    with opened(load_settings()) as database, _shown(entries, quiet=as_json) as on_progress:
        campaign_id = seed_campaign(
            database, entries=entries, campaign_name=campaign_name, seed=seed, on_progress=on_progress
        )
    if as_json:
        names = {"campaignId": campaign_id, "campaignName": campaign_name}
        click.echo(json.dumps(names | {"entries": entries, "dateKeys": list(DATE_KEYS)}, ensure_ascii=False))
        return
    click.echo(f"seed: waves (--date-key): {', '.join(DATE_KEYS)}", err=True)
    click.echo(campaign_id)


@contextlib.contextmanager
def _shown(total: int, *, quiet: bool) -> Generator[Callable[[int], None]]:
    """Show entries loaded on stderr: a bar on a terminal, else a line now and then, nothing when `quiet`."""
    if not sys.stderr.isatty():
        yield (lambda _: None) if quiet else _lines(total)
        return
    columns = (TextColumn("[bold]seed"), BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("entries"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("seed", total=total)
        yield lambda done: progress.update(task, completed=done)


def _lines(total: int) -> Callable[[int], None]:
    """Make a function that writes a line every few seconds, and one at the end."""
    started = written = time.monotonic()

    def show(done: int) -> None:
        nonlocal written
        now = time.monotonic()
        if done == total or now - written >= LINE_SECONDS:
            written = now
            rate = done / max(now - started, 1e-9)
            # A load does not fail because nobody watches it any more.
            with contextlib.suppress(OSError):
                click.echo(f"seed: {done:,} of {total:,} entries, {rate:,.0f} entries/s", err=True)

    return show
