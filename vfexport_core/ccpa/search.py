"""In which campaigns a user has an entry, a scoring record or an assigned code, by what the sources say today.

With the user's id the indexes say it (`find_person`). Without it, as a service that goes on with a recorded deletion
knows its hash only, every id has to be read and hashed (`find_person_by_hash`): slow, and seldom needed. What the
sources do not say any more, the index of the files does (ccpa.file_index).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo.errors import PyMongoError

from vfexport_core.catalog.collections import Collection
from vfexport_core.ccpa.records import Search
from vfexport_core.errors import SourceUnavailable
from vfexport_core.mongo.client import open_deciding
from vfexport_core.mongo.retry import ReadRetries, retry_read
from vfexport_core.rows.values import id_key
from vfexport_core.sources.ranges import EntryRange, entries_are_dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document

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


@dataclass(frozen=True, slots=True)
class Found:
    """Where a user is: the campaigns, and the member ids by which scoring records and codes name the user."""

    campaigns: frozenset[str]
    members: frozenset[str]


def find_person(sources: Sources, user_id: str, with_exports: Iterable[str]) -> Found:
    """Look for the user in every campaign, and in those that have exports but exist no more; raises SourceUnavailable.

    Ids are stored as text in either case, or as ObjectIds; all these forms are looked for. Codes, and scoring records
    that name the member only, are looked at in the campaigns that have exports: without an index for it (see
    docs/operations.md) that means reading them.
    """
    exported = sorted(_hex(with_exports))
    candidates = sorted(sources.campaigns() | set(exported))
    users = forms_of(user_id)
    found = _entered(sources, candidates, users)
    account = sources.find("users", {"_id": {"$in": users}}, {"integrations.ticketmaster.member_id": 1})
    members = {id_key(_at(user, "integrations", "ticketmaster", "member_id")) for user in account}
    for collection, user, member, campaigns in (
        (Collection.SCORING, "userId", "memberId", candidates),
        (Collection.CODES, "assignment.userId", "assignment.memberId", exported),
    ):
        for document in _referring(sources, collection, campaigns, {user: {"$in": users}}, member):
            found |= _hex([document["campaignId"]])
            members.add(id_key(_at(document, *member.split("."))))
    members.discard("")
    if members:
        forms = [form for member in sorted(members) for form in forms_of(member)]
        for collection, member in ((Collection.SCORING, "memberId"), (Collection.CODES, "assignment.memberId")):
            for document in _referring(sources, collection, exported, {member: {"$in": forms}}, member):
                found |= _hex([document["campaignId"]])
    return Found(frozenset(found), frozenset(members))


def find_person_by_hash(
    sources: Sources, with_exports: Iterable[str], is_user: Callable[[Any], bool], earlier: Search | None, note: Note
) -> tuple[Found, str | None]:
    """Find the same, and the user's id, by reading the ids that there are, for `is_user` to tell.

    That may take longer than one try: `note` is told how far it has come, every few seconds, and `earlier` is what the
    try before had told, from where this one goes on. Raises SourceUnavailable.
    """
    exported = list(with_exports)
    found = list(earlier.found) if earlier else []
    user_id: str | None = None
    noted = time.monotonic()
    for campaign in sorted(sources.campaigns() | _hex(exported)):
        if earlier and campaign <= earlier.after:
            continue
        match = next((user for user in users_of(sources, campaign) if is_user(user)), None)
        if match is not None:
            found.append(campaign)
            user_id = id_key(match)
        if time.monotonic() - noted >= _NOTE_SECONDS:
            note(Search(campaign, tuple(found)))
            noted = time.monotonic()
    if user_id is None and found:  # the try before had met the user, and could not say who it was
        user_id = next((id_key(user) for user in users_of(sources, found[0]) if is_user(user)), None)
    if user_id is None:
        return Found(frozenset(found), frozenset()), None
    person = find_person(sources, user_id, exported)
    return Found(person.campaigns | frozenset(found), person.members), user_id


def members_of(sources: Sources, campaign_id: str, users: Iterable[str]) -> set[str]:
    """Return the member ids of these users, as their accounts and their scoring records and codes in a campaign say."""
    forms = [form for user in users for form in forms_of(user)]
    if not forms:
        return set()
    account = sources.find("users", {"_id": {"$in": forms}}, {"integrations.ticketmaster.member_id": 1})
    members = {id_key(_at(user, "integrations", "ticketmaster", "member_id")) for user in account}
    for collection, user, member in (
        (Collection.SCORING, "userId", "memberId"),
        (Collection.CODES, "assignment.userId", "assignment.memberId"),
    ):
        named = _referring(sources, collection, [campaign_id], {user: {"$in": forms}}, member)
        members |= {id_key(_at(document, *member.split("."))) for document in named}
    return members - {""}


def _entered(sources: Sources, candidates: Sequence[str], users: Sequence[Any]) -> set[str]:
    """Return the campaigns in which one of these users has an entry."""
    dotted = sources.entries_are_dotted()
    found: set[str] = set()
    for batch in _batches(
        candidates, sources.lookup_batch // 3 if dotted else sources.lookup_batch // (3 * len(users))
    ):
        campaigns = [form for campaign in batch for form in forms_of(campaign)]
        for entry in sources.find("entries", _entries_of(campaigns, users, dotted=dotted), {"_id": 1}):
            found |= _hex([entry["_id"]["campaign_id"]])
    return found


def _referring(
    sources: Sources, collection: Collection, campaigns: Sequence[str], condition: Document, member: str
) -> Iterator[Document]:
    """Yield the documents of these campaigns that meet a condition: their campaign's id, and the field `member`."""
    for batch in _batches(campaigns, sources.lookup_batch // 3):
        forms = [form for campaign in batch for form in forms_of(campaign)]
        query: Document = {"campaignId": {"$in": forms}, **condition}
        yield from sources.find(collection.spec.name, query, {"_id": 0, "campaignId": 1, member: 1})


def _at(document: Any, *path: str) -> Any:
    """Return what is under a path; None where it is not, or leads through something else than documents."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


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
    scored: Document = {"campaignId": {"$in": forms_of(campaign)}}
    for record in _all(sources, "scoring", scored, {"_id": 0, "userId": 1}):
        yield record.get("userId")
    for code in _all(sources, "codes", scored, {"_id": 0, "assignment.userId": 1}):
        yield _at(code, "assignment", "userId")


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
