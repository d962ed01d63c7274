"""`vfexport init`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from vfexport_core.queue.reading import COLLECTION
from vfexport_core.queue.store import ExportStore
from vfexport_core.settings import load_settings
from vfexport_core.sources.client import opened, reading

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.sources.client import Document


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def init(*, as_json: bool) -> None:
    """Create the queue's indexes and validator, or bring them up to date.

    Harmless to repeat, also from several places at once. Needs VFEXPORT_MONGO_URI.
    """
    with opened(load_settings()) as database:
        before = _index_names(database)
        ExportStore(database).initialise()
        after = _index_names(database)
    made, kept = sorted(after - before), sorted(after & before)
    if as_json:
        done = {"database": database.name, "collection": COLLECTION, "indexesCreated": made, "indexesKept": kept}
        click.echo(json.dumps(done | {"validator": "set"}))
        return
    click.echo(f"{database.name}.{COLLECTION}: validator set")
    for name in made:
        click.echo(f"{database.name}.{COLLECTION}: index {name} created")
    for name in kept:
        click.echo(f"{database.name}.{COLLECTION}: index {name} was there")


def _index_names(database: Database[Document]) -> set[str]:
    """Give the names of the queue's indexes; the one on ``_id`` comes with every collection."""
    with reading(COLLECTION):
        return set(database[COLLECTION].index_information()) - {"_id_"}
