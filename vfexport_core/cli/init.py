"""`vfexport init`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from vfexport_core.catalog import all_specs
from vfexport_core.mongo.client import opened, reading
from vfexport_core.mongo.own_collections import EXPORTS
from vfexport_core.services.initialise import OWNED, initialise
from vfexport_core.settings import load_settings
from vfexport_core.sources.needed_indexes import missing_source_indexes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.sources.needed_indexes import MissingIndex

_COLLECTIONS = tuple(owned.collection for owned in OWNED)
_LISTED_TYPES = 5


@click.command()
@click.option("--check-sources", is_flag=True, help="Also warn of indexes that exports need on the source collections.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def init(*, check_sources: bool, as_json: bool) -> None:
    """Create the indexes and validators of the service's collections, or bring them up to date.

    Harmless to repeat, also from several places at once. Needs VFEXPORT_MONGO_URI.

    The source collections belong to others: with --check-sources they are looked at, never changed.
    """
    with opened(load_settings()) as database:
        before = _index_names(database)
        initialise(database)
        after = _index_names(database)
        missing = missing_source_indexes(database, all_specs()) if check_sources else None
    if as_json:
        done = {"database": database.name} | _done(before, after, EXPORTS)
        checked = {} if missing is None else {"missingIndexes": [_wire(item) for item in missing]}
        others = {name: _done(before, after, name) for name in _COLLECTIONS if name != EXPORTS}
        click.echo(json.dumps(done | others | checked))
        return
    for collection in _COLLECTIONS:
        click.echo(f"{database.name}.{collection}: validator set")
        for name in sorted(after[collection]):
            what = "was there" if name in before[collection] else "created"
            click.echo(f"{database.name}.{collection}: index {name} {what}")
    for warning in dict.fromkeys(_warning(item, database.name, missing or []) for item in missing or []):
        click.echo(warning, err=True)
    if missing == []:
        click.echo(f"{database.name}: no index is missing on the source collections")


def _index_names(database: Database[Document]) -> dict[str, set[str]]:
    """Return the names of the indexes of our collections; the one on ``_id`` comes with every collection."""
    names: dict[str, set[str]] = {}
    for collection in _COLLECTIONS:
        with reading(collection):
            names[collection] = set(database[collection].index_information()) - {"_id_"}
    return names


def _done(before: dict[str, set[str]], after: dict[str, set[str]], collection: str) -> dict[str, Any]:
    made, kept = after[collection] - before[collection], after[collection] & before[collection]
    names = {"indexesCreated": sorted(made), "indexesKept": sorted(kept)}
    return {"collection": collection, **names, "validator": "set"}


def _warning(item: MissingIndex, database: str, missing: list[MissingIndex]) -> str:
    index = item.index
    name = f"{database}.{index.collection}"
    if not item.collection_exists:
        # Several indexes may be wanted of it; that it is not there is said once.
        same = [other.index for other in missing if other.index.collection == index.collection]
        types = list(dict.fromkeys(type_ for other in same for type_ in other.types))
        return f"warning: collection {name} does not exist; it is read by {_listed(types)}"
    return (
        f"warning: {name} has no index {index.specification}: without it, {_listed(index.types)} would scan the whole "
        f"collection and overload the operational database. db.{index.collection}.createIndex({index.specification})"
    )


def _listed(types: Sequence[str]) -> str:
    if len(types) == len(all_specs()):
        return "every export type"
    shown, more = types[:_LISTED_TYPES], len(types) - _LISTED_TYPES
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _wire(missing: MissingIndex) -> dict[str, Any]:
    index = missing.index
    return {
        "collection": index.collection,
        "collectionExists": missing.collection_exists,
        "keys": list(index.keys),
        "exportTypes": list(index.types),
    }
