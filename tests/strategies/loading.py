"""A generated campaign put into a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson.raw_bson import RawBSONDocument

if TYPE_CHECKING:
    from pymongo.database import Database

    from tests.reference import Campaign

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
            database[name].insert_many(RawBSONDocument(document) for document in documents)
