"""The indexes that the reads of exports need on the collections that belong to others.

They are derived from the catalog: what a type scans and looks up says how its collections are queried (sources.ranges,
.lookup, .campaigns). Without one of them an export still gives the right rows, but reads the whole collection for them,
which the operational database feels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.mongo.client import reading
from vfexport_core.mongo.usable_indexes import Keys, index_beginning_with, usable_indexes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.mongo.document import Document

# Every collection has it: those that are queried by it are only checked for being there.
_DEFAULT: Keys = ("_id",)


@dataclass(frozen=True, slots=True)
class NeededIndex:
    """An index with `keys` as its first ones, which the reads of these export types use."""

    collection: str
    keys: Keys
    types: tuple[str, ...]

    @property
    def specification(self) -> str:
        """The keys as the shell writes them."""
        return "{" + ", ".join(f'"{key}": 1' if "." in key else f"{key}: 1" for key in self.keys) + "}"


@dataclass(frozen=True, slots=True)
class MissingIndex:
    """An index that is needed and not there; without the collection it cannot be."""

    index: NeededIndex
    collection_exists: bool


def needed_indexes(specs: Iterable[ExportSpec]) -> tuple[NeededIndex, ...]:
    """List what the reads of these types need, by collection and keys."""
    types: dict[tuple[str, Keys], dict[str, None]] = {}
    for spec in specs:
        for need in _needs(spec):
            types.setdefault(need, {})[spec.type] = None
    return tuple(NeededIndex(*need, tuple(types[need])) for need in sorted(types))


def missing_source_indexes(database: Database[Document], specs: Iterable[ExportSpec]) -> list[MissingIndex]:
    """List the indexes that the reads of these types need and the database has not; raises SourceUnavailable."""
    return [missing for needed in needed_indexes(specs) if (missing := _missing(database, needed)) is not None]


def _missing(database: Database[Document], needed: NeededIndex) -> MissingIndex | None:
    with reading(needed.collection, "list indexes"):
        indexes = usable_indexes(database, needed.collection)
    if indexes is not None and index_beginning_with(needed.keys, indexes) is not None:
        return None
    return MissingIndex(needed, collection_exists=indexes is not None)


def _needs(spec: ExportSpec) -> Iterator[tuple[str, Keys]]:
    yield "campaigns", _DEFAULT
    yield "markets", ("campaignId",)
    yield spec.scan.collection.spec.name, spec.scan.collection.scan.index
    for lookup in spec.lookups:
        yield lookup.collection.spec.name, lookup.collection.lookup.index
    if spec.not_in_scheduled_wave is not None:
        yield "smsWaves", ("campaignId", "status")
