"""The indexes that 02-documents expects on the collections that the service only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vfexport_core.mongo.client import reading

if TYPE_CHECKING:
    from pymongo.database import Database

SOURCE_INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {
    # On MongoDB the _id index alone would do; the embedded server compares whole embedded documents slowly.
    "entries": (("_id.campaign_id", "_id.user_id"),),
    "scoring": (("campaignId", "_id"), ("campaignId", "userId")),
    "codes": (("campaignId", "_id"),),
    "markets": (("campaignId",),),
    "smsWaves": (("campaignId", "status"),),
}


def create_source_indexes(database: Database[dict[str, Any]]) -> None:
    """Create the indexes of 02 where they are not there yet; raises SourceUnavailable."""
    for collection, indexes in SOURCE_INDEXES.items():
        with reading(collection):
            for paths in indexes:
                database[collection].create_index([(path, 1) for path in paths])
