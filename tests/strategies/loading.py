"""A generated campaign put into a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson.raw_bson import RawBSONDocument
from hypothesis import reject
from pymongo.errors import OperationFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.collection import Collection
    from pymongo.database import Database

    from tests.reference import Campaign

_INTERNAL_ERROR = 1

COLLECTIONS = {
    "markets": "markets",
    "users": "users",
    "entries": "entries",
    "scoring": "scoring",
    "codes": "codes",
    "sms_waves": "smsWaves",
    "promoters": "promoters",
}


def load(database: Database[Any], campaign: Campaign) -> None:
    """Put the raw documents of a campaign into `database`, in place of whatever its source collections held.

    Every collection exists afterwards, empty or not: a missing one is an error of the export, not an empty file.
    Indexes stay as they are.
    """
    contents = {name: getattr(campaign, field) for field, name in COLLECTIONS.items()} | {
        "campaigns": [campaign.campaign]
    }
    present = set(database.list_collection_names())
    for name, documents in contents.items():
        if name in present:
            database[name].delete_many({})
        else:
            database.create_collection(name)
        if documents:
            _insert(database[name], documents)


def _insert(collection: Collection[Any], documents: Sequence[bytes]) -> None:
    """Insert documents, in one command; an example that the embedded server fails on by itself says nothing of us."""
    try:
        collection.insert_many(RawBSONDocument(document) for document in documents)
    except OperationFailure as failure:
        if failure.code == _INTERNAL_ERROR:
            reject()
        raise
