"""The indexes that the planner may use for any query of ours: the one rule for what counts as an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document

Keys = tuple[str, ...]


def usable_indexes(database: Database[Document], collection: str) -> dict[str, Keys] | None:
    """Return the keys of these indexes by their names; None when the collection does not exist.

    What is asked for is of the primary, whatever is read afterwards. Raises what the driver raises.
    """
    found = list(database.list_collections(filter={"name": collection}))
    if not found:
        return None
    collation = found[0].get("options", {}).get("collation")
    indexes = database[collection].list_indexes()
    return {index["name"]: tuple(index["key"]) for index in indexes if _serves_any_query(index, collation)}


def index_beginning_with(keys: Sequence[str], indexes: Mapping[str, Keys]) -> str | None:
    """Return the name of an index whose first keys are these, in their order."""
    return next((name for name, found in indexes.items() if found[: len(keys)] == tuple(keys)), None)


def _serves_any_query(index: Mapping[str, Any], collation: Any) -> bool:
    """Return whether the planner may use an index unasked: no partial, sparse, hidden, hashed or foreign one.

    The direction of keys does not matter: all but the last are compared for equality.
    """
    if any(index.get(part) for part in ("partialFilterExpression", "sparse", "hidden")):
        return False
    # The strings of an index are in the order of its own collation; our queries have the collection's.
    if index.get("collation") != collation:
        return False
    return all(isinstance(direction, (int, float)) for direction in index["key"].values())
