"""The resumable scan: one campaign's documents of a collection as raw BSON batches, by ``_id``.

A connection that drops, a cursor that the server forgot or a primary that steps down costs a new query after the last
``_id`` seen: no document is lost and none comes twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import MaxKey
from pymongo.errors import PyMongoError

from vfexport_core.errors import SourceMissing
from vfexport_core.sources.client import Document, raw_batches, reading
from vfexport_core.sources.decode import last_document
from vfexport_core.sources.projection import flat_projection
from vfexport_core.sources.retry import Patience

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping

    from pymongo.collection import Collection
    from pymongo.database import Database

    from vfexport_core.catalog.spec import Field

BATCH_DOCUMENTS = 4_000
# The name under which every flat document carries its place in the order of the scan.
RESUME_NAME = "r"

_ENTRIES_COMPOUND_KEY = {"_id.campaign_id": 1, "_id.user_id": 1}


@dataclass(frozen=True, slots=True)
class EntryRange:
    """One campaign's entries; ``_id`` is {campaign_id, user_id}, so that the campaign is one range of the index.

    `dotted` uses the compound index on the two paths where a deployment has it instead of the default one.
    """

    campaign_id: str
    dotted: bool

    @property
    def resume_expression(self) -> str:
        return "$_id"

    @property
    def sort(self) -> dict[str, int]:
        return dict(_ENTRIES_COMPOUND_KEY) if self.dotted else {"_id": 1}

    def match(self, last: Document | None) -> Document:
        """Select the campaign's entries, or those after the ``_id`` `last`."""
        if self.dotted:
            # Without $expr, $gt would only find user ids of the same BSON type as the last one.
            rest = {} if last is None else {"$expr": {"$gt": ["$_id.user_id", {"$literal": last.get("user_id")}]}}
            return {"_id.campaign_id": self.campaign_id, **rest}
        upper = {"campaign_id": self.campaign_id, "user_id": MaxKey()}
        lower = {"$gte": {"campaign_id": self.campaign_id}} if last is None else {"$gt": last}
        return {"_id": {**lower, "$lte": upper}}


def entry_range(database: Database[Document], campaign_id: str) -> EntryRange:
    """Look once at the indexes of ``entries`` and choose the range that they serve.

    Raises SourceMissing when the collection does not exist, SourceUnavailable when MongoDB fails.
    """
    require_collection(database, "entries")
    with reading("entries"):
        keys = [dict(index["key"]) for index in database["entries"].list_indexes()]
    return EntryRange(campaign_id, dotted=_ENTRIES_COMPOUND_KEY in keys)


def require_collection(database: Database[Document], name: str) -> None:
    """Raise SourceMissing when the collection that rows come from does not exist: that is no empty file."""
    with reading(name):
        names = database.list_collection_names(filter={"name": name})
    if not names:
        raise SourceMissing(f"collection {name} does not exist in database {database.name}", payload=name)


def scan(
    collection: Collection[Document],
    selection: EntryRange,
    names: Mapping[Field, str],
    stop: threading.Event,
    batch_documents: int = BATCH_DOCUMENTS,
) -> Iterator[bytes]:
    """Yield raw batches of at most `batch_documents` flat documents, in the order of ``_id``.

    Raises SourceUnavailable when the collection cannot be read on. Setting `stop` ends the waiting for retries.
    """
    patience = Patience(collection.name, stop)
    project = flat_projection(names, **{RESUME_NAME: selection.resume_expression})
    last: Any = None
    while True:
        pipeline = [{"$match": selection.match(last)}, {"$sort": selection.sort}, {"$project": project}]
        raw = b""
        try:
            with raw_batches(collection, pipeline, batch_documents) as batches:
                for raw in batches:
                    yield raw
                    patience.progressed()
                return
        except PyMongoError as error:
            if raw:
                last = last_document(raw)[RESUME_NAME]
            patience.failed(error)
