"""In which campaigns a user has an entry or a scoring record.

With the user's id the indexes say it (`find_campaigns`). Without it, as a service that goes on with a recorded deletion
knows its hash only, every id has to be read and hashed (`find_campaigns_by_hash`): slow, and seldom needed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo.errors import PyMongoError

from vfexport_core.ccpa.records import Search
from vfexport_core.errors import SourceUnavailable
from vfexport_core.mongo.client import open_deciding
from vfexport_core.mongo.retry import ReadRetries, retry_read
from vfexport_core.rows.values import id_key
from vfexport_core.sources.ranges import EntryRange, entries_are_dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pymongo.database import Database

    from vfexport_core.mongo.client import Document

    Note = Callable[[Search], None]

_ATTEMPTS = 3
_INT64_MAX = 2**63 - 1
# At most so much of a search is lost when it is cut off, besides the campaign that it was at.
_NOTE_SECONDS = 2.0
# So many ids are read between two signs of life.
_IDS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Sources:
    """The collections that say where a user is. `alive` is called now and then, and may raise to end the search.

    All is read from the primary, where nothing that has come is hidden yet.

    Its errors name the collection and the class of the failure only: a driver's message may repeat a query.
    """

    database: Database[Document]
    lookup_batch: int
    alive: Callable[[], object]

    def campaigns(self) -> set[str]:
        """Return the ids of all campaigns; raises SourceUnavailable."""
        campaigns = open_deciding(self.database, "campaigns")
        found = self.read("campaigns", lambda: list(campaigns.find({}, {"_id": 1})))
        return _hex(campaign["_id"] for campaign in found)

    def entries_are_dotted(self) -> bool:
        """Return which index serves queries on entries; without any entries either would. Raises SourceUnavailable."""
        return self.read("entries", lambda: entries_are_dotted(self.database))

    def read(self, collection: str, operation: Callable[[], Any]) -> Any:
        self.alive()
        try:
            return retry_read(operation, ReadRetries(collection, attempts=_ATTEMPTS))
        except SourceUnavailable as error:
            cause = type(error.__cause__).__name__
            raise SourceUnavailable(
                f"MongoDB failed on collection {collection} (find): {cause}", payload=collection
            ) from None

    def find(self, collection: str, query: Document, projection: Document) -> list[Document]:
        source = open_deciding(self.database, collection)
        return self.read(collection, lambda: list(source.find(query, projection)))


def find_campaigns(sources: Sources, user_id: str, with_exports: Iterable[str]) -> list[str]:
    """Look for the user in every campaign, and in those that have exports but exist no more; raises SourceUnavailable.

    Ids are stored as text in either case, or as ObjectIds; all these forms are looked for.
    """
    candidates = sorted(sources.campaigns() | _hex(with_exports))
    users = forms_of(user_id)
    dotted = sources.entries_are_dotted()
    found: set[str] = set()
    for batch in _batches(
        candidates, sources.lookup_batch // 3 if dotted else sources.lookup_batch // (3 * len(users))
    ):
        campaigns = [form for campaign in batch for form in forms_of(campaign)]
        for entry in sources.find("entries", _entries_of(campaigns, users, dotted=dotted), {"_id": 1}):
            found |= _hex([entry["_id"]["campaign_id"]])
    for batch in _batches(candidates, sources.lookup_batch // 3):
        campaigns = [form for campaign in batch for form in forms_of(campaign)]
        query = {"campaignId": {"$in": campaigns}, "userId": {"$in": users}}
        for record in sources.find("scoring", query, {"_id": 0, "campaignId": 1}):
            found |= _hex([record["campaignId"]])
    return sorted(found)


def find_campaigns_by_hash(
    sources: Sources, candidates: Iterable[str], is_user: Callable[[Any], bool], earlier: Search | None, note: Note
) -> list[str]:
    """Find the same by reading every id there is, for `is_user` to tell; raises SourceUnavailable.

    That may take longer than one try: `note` is told how far it has come, every few seconds, and `earlier` is what the
    try before had told, from where this one goes on.
    """
    found = list(earlier.found) if earlier else []
    noted = time.monotonic()
    for campaign in sorted(sources.campaigns() | _hex(candidates)):
        if earlier and campaign <= earlier.after:
            continue
        if any(is_user(user) for user in users_of(sources, campaign)):
            found.append(campaign)
        if time.monotonic() - noted >= _NOTE_SECONDS:
            note(Search(campaign, tuple(found)))
            noted = time.monotonic()
    return found


def forms_of(key: str) -> list[Any]:
    """Return the values by which a document may refer to an id: text, in either case, an ObjectId, a number."""
    forms: list[Any] = [key]
    if ObjectId.is_valid(key) and key == id_key(key):
        forms += [key.upper(), ObjectId(key)] if key.upper() != key else [ObjectId(key)]
    if key.isascii() and key.isdigit() and str(int(key)) == key and int(key) <= _INT64_MAX:
        forms.append(int(key))
    return forms


def _entries_of(campaigns: Sequence[Any], users: Sequence[Any], *, dotted: bool) -> Document:
    if dotted:
        return {"_id.campaign_id": {"$in": list(campaigns)}, "_id.user_id": {"$in": list(users)}}
    return {"_id": {"$in": [{"campaign_id": campaign, "user_id": user} for campaign in campaigns for user in users]}}


def users_of(sources: Sources, campaign: str) -> Iterator[Any]:
    """Return the id of every user of a campaign, as it is stored; some come twice. Raises SourceUnavailable."""
    dotted = sources.entries_are_dotted()
    for form in forms_of(campaign):
        entries = EntryRange(form, dotted).match()
        for entry in _all(sources, "entries", entries, {"_id": 1}):
            yield entry["_id"].get("user_id")
    scored = {"campaignId": {"$in": forms_of(campaign)}}
    for record in _all(sources, "scoring", scored, {"_id": 0, "userId": 1}):
        yield record.get("userId")


def _all(sources: Sources, collection: str, query: Document, projection: Document) -> Iterator[Document]:
    """Read documents one by one; after a fault again from the start, for it does no harm to see one twice."""
    source = open_deciding(sources.database, collection)
    retries = ReadRetries(collection, attempts=_ATTEMPTS)
    while True:
        try:
            for number, document in enumerate(source.find(query, projection, batch_size=_IDS_AT_ONCE)):
                if number % _IDS_AT_ONCE == 0:
                    sources.alive()
                yield document
        except PyMongoError as error:
            try:
                retries.failed(error)
            except SourceUnavailable:
                name = type(error).__name__
                raise SourceUnavailable(
                    f"MongoDB failed on collection {collection} (find): {name}", payload=collection
                ) from None
        else:
            return


def _hex(ids: Iterable[Any]) -> set[str]:
    """Return those that can be a campaign's id, in the form in which exports refer to them."""
    return {key for value in ids if ObjectId.is_valid(key := id_key(value))}


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    step = max(1, size)
    return (items[start : start + step] for start in range(0, len(items), step))
