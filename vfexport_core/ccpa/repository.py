"""The record of every deletion, `ccpaDeletions`: who asked for it, what was deleted, what kept it from completing.

Each change is one conditional update that is harmless to repeat. A user has one open record at most, by a unique index:
whoever asks for the same deletion while it is open joins it. A lease keeps two workers from doing the same work; it is
no fence, for the work may be done twice.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from vfexport_core.ccpa import schema
from vfexport_core.ccpa.records import Deletion, DeletionStatus, Respected, people_document
from vfexport_core.errors import SourceUnavailable
from vfexport_core.mongo.document import NOW, storable
from vfexport_core.mongo.own_collections import CLOCK_SKEW_SECONDS, DELETIONS, open_owned
from vfexport_core.mongo.retry import DEFAULT_LIMITS, RetryLimits, with_retries
from vfexport_core.mongo.schema_setup import INDEX_BUILD_LIMITS, put_indexes, put_validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from pymongo.database import Database

    from vfexport_core.ccpa.person_keys import People
    from vfexport_core.ccpa.records import ObjectName, Problem, Search
    from vfexport_core.mongo.document import Document

T = TypeVar("T")

LEASE_SECONDS = 60.0
MOST_KEYS = 30_000
"""So many keys fit into one record; what comes after them is only counted."""

_MOST_JOINED = 1_000
_MOST_ERRORS = 50
_REQUEST_TRIES = 50
_REQUEST_PAUSE_SECONDS = 0.02
_OPEN_AT_MOST = 1_000
_TEXT_CHARACTERS = 1_000
_MILLIS = 1_000
_FIRST_WAIT_SECONDS = 15.0
_LONGEST_WAIT_SECONDS = 900.0


class JoinedDeletion(NamedTuple):
    """A request: the record that it is kept in, and its number there. It is done once that many are `fulfilled`."""

    record_id: str
    number: int


class DeletionRepository:
    """The collection of one database; any method may raise SourceUnavailable, as those of `ExportRepository` do."""

    def __init__(self, database: Database[dict[str, Any]], limits: RetryLimits = DEFAULT_LIMITS) -> None:
        self._records = open_owned(database, DELETIONS)
        self._limits = limits

    def initialise(self) -> None:
        """Create validator and indexes, or bring them up to date; idempotent. Raises InitialisationFailed."""
        self._retrying(lambda: put_validator(self._records, schema.VALIDATOR))
        with_retries(self._records, lambda: put_indexes(self._records, schema.INDEXES), INDEX_BUILD_LIMITS)

    def request(
        self, user_hash: str, key_check: str, people: People, requested_by: str, correlation_id: str
    ) -> JoinedDeletion:
        """Record a request: in the user's open record if there is one, else in a new one.

        `people` are the keys of the user in the index of the files.

        From then on exports that are claimed respect it. Raises SourceUnavailable.
        """
        requester: Document = {"requestedBy": storable(requested_by), "correlationId": correlation_id}
        record_id = ObjectId()
        document: Document = requester | {
            "userHash": user_hash,
            "keyCheck": key_check,
            "people": people_document(people),
            "status": DeletionStatus.OPEN.value,
            "requests": 1,
            **schema.JOINABLE,
            "deletedCount": {"exports": 0, "files": 0},
            "exports": [],
            "keys": [],
            "notes": 0,
            "errors": [],
            "tries": 0,
        }
        open_one = {"userHash": user_hash, "keyCheck": key_check, **schema.JOINABLE}
        for _ in range(_REQUEST_TRIES):
            found = self._retrying(lambda: self._insert_or_join(record_id, document, open_one, requester))
            if found is not None:
                return JoinedDeletion(str(found["_id"]), found["requests"])
            # The open one was completed between our insertion and our look at it.
            time.sleep(_REQUEST_PAUSE_SECONDS)
        raise SourceUnavailable(
            f"collection {DELETIONS}: neither a new record nor the open one could be found", payload=DELETIONS
        )

    def _insert_or_join(
        self, record_id: ObjectId, document: Document, open_one: Document, requester: Document
    ) -> Document | None:
        """Join the open record, or insert one; None when it was open, and is not any more.

        Of two that insert the unique index refuses one. Doing it again after a lost answer joins once more: that costs
        another sweep at most.
        """
        entry = {"$mergeObjects": [{name: {"$literal": value} for name, value in requester.items()}, {"at": NOW}]}
        joined = {"$slice": [{"$concatArrays": [{"$ifNull": ["$joined", []]}, [entry]]}, _MOST_JOINED]}
        change = [{"$set": {"requests": {"$add": ["$requests", 1]}, "joined": joined}}]
        found = self._records.find_one_and_update(open_one, change, return_document=ReturnDocument.AFTER)
        if found is not None:
            return found
        # An update that inserts, because only an update knows the server's clock.
        condition: Document = {"_id": record_id, "status": {"$exists": False}}
        inserted: Document = {"$setOnInsert": document, "$currentDate": {"date.requested": True}}
        with contextlib.suppress(DuplicateKeyError):
            self._records.update_one(condition, inserted, upsert=True)
            return {"_id": record_id, "requests": 1}
        return None

    def begin(self, record_id: str) -> Deletion | None:
        """Take an open record for a try; None when another worker has it, or it is complete, or has just changed.

        The try is for all requests so far. Those that came after an earlier try had begun are for what has come since:
        the user is looked for again, in every campaign.
        """
        found = self._with_now({"_id": ObjectId(record_id), "status": DeletionStatus.OPEN.value}, 1)
        if not found or is_leased(*found[0]):
            return None
        record, lease_id = found[0][0], ObjectId()
        condition: Document = {
            "_id": ObjectId(record_id),
            "tries": record.tries,
            "leaseUntil": record.lease_until,
            "requests": record.requests,
        }
        anew = record.covers is not None and record.covers != record.requests
        change: Document = {
            "date.tried": NOW,
            "date.effective": NOW if anew else {"$ifNull": ["$date.effective", NOW]},
            "tries": record.tries + 1,
            "covers": record.requests or 1,
            "leaseId": lease_id,
        }
        forgotten: list[Document] = [{"$unset": ["campaigns", "search"]}] if anew else []
        self._update(condition, [{"$set": change | _lease()}, *forgotten])
        # Whose lease it is tells it apart from another worker's, also when an answer was lost.
        mine = self._retrying(lambda: self._records.find_one({"_id": ObjectId(record_id), "leaseId": lease_id}))
        return None if mine is None else Deletion.from_document(mine)

    def renew(self, record: Deletion) -> None:
        """Keep others from taking the record up for another while."""
        self._update({"_id": ObjectId(record.id), "status": DeletionStatus.OPEN.value}, [{"$set": _lease()}])

    def set_campaigns(self, record: Deletion, campaigns: Sequence[str], people: People | None = None) -> None:
        """Note where the user was found, unless a later try is looking anew for what has come since.

        `people` are the keys of the user in the index of the files, if more are known now.
        """
        found: Document = {"campaigns": list(campaigns)}
        if people is not None:
            found["people"] = people_document(people)
        self._update(_searching(record), {"$set": found, "$unset": {"search": ""}})

    def add_campaign(self, record_id: str, campaign_id: str) -> None:
        """Note that the user was met in one more campaign; from then on its exports leave the user out.

        Nothing for a record that has no campaigns yet: all exports do.
        """
        condition: Document = {"_id": ObjectId(record_id), "campaigns": {"$exists": True}}
        self._update(condition, {"$addToSet": {"campaigns": campaign_id}})

    def note_search(self, record: Deletion, search: Search) -> None:
        """Note how far the search for the user has come, so that the next try goes on from there."""
        self._update(_searching(record), {"$set": {"search": {"after": search.after, "found": list(search.found)}}})

    def note(self, record: Deletion, names: Sequence[ObjectName], exports: Iterable[str]) -> Deletion:
        """Note files that are there, and documents that are final, directly before they are deleted.

        Noting twice is noting once, so that what was deleted is counted right whatever is interrupted and repeated.
        """
        files = [name for name in names if name not in record.noted_files]
        new = frozenset(exports) - record.noted_exports
        kept = files[: max(0, MOST_KEYS - len(record.noted_files))]
        added: Document = {
            "keys": {"$each": [name._asdict() for name in kept]},
            "exports": {"$each": [ObjectId(export_id) for export_id in new]},
        }
        omitted = {"keysOmitted": len(files) - len(kept)} if len(files) > len(kept) else {}
        unchanged = {"_id": ObjectId(record.id), "notes": record.notes}
        change = {"$push": added, "$inc": {"notes": 1, **omitted}}
        if not self._retrying(lambda: self._records.update_one(unchanged, change)).matched_count:
            # An earlier try has done it, and its answer was lost, or another worker has noted something. Comparing with
            # all that is there is slow.
            self._update({"_id": ObjectId(record.id)}, {"$addToSet": added, "$inc": {"notes": 1}})
            now = self.get(record.id)
            return replace(record, notes=now.notes, noted_exports=now.noted_exports, noted_files=now.noted_files)
        noted = {"noted_exports": record.noted_exports | new, "noted_files": record.noted_files.union(kept)}
        return replace(record, notes=(record.notes or 0) + 1, **noted)

    def forget_export(self, record: Deletion, export_id: str) -> Deletion:
        """Take back the note of a document that was not deleted after all."""
        self._update({"_id": ObjectId(record.id)}, {"$pull": {"exports": ObjectId(export_id)}})
        return replace(record, noted_exports=record.noted_exports - {export_id})

    def leave(self, record: Deletion, problems: Sequence[Problem]) -> Deletion:
        """End a try that did not complete; the record stays open, to be taken up again."""
        errors = {"$slice": [{"$concatArrays": ["$errors", [_error(problem) for problem in problems]]}, -_MOST_ERRORS]}
        self._end(record, {"errors": errors})
        return self.get(record.id)

    def complete(self, record: Deletion) -> Deletion:
        """OPEN -> COMPLETE; completing twice is completing once.

        A record that was joined since the try began stays open for these requests, and those before are `fulfilled`.
        """
        self._end(
            record,
            {"status": DeletionStatus.COMPLETE.value, "date.completed": NOW, "fulfilled": record.covers},
            {"requests": record.requests},
            "joinable",
        )
        self._end(record, {"fulfilled": {"$max": ["$fulfilled", record.covers]}})
        return self.get(record.id)

    def get(self, record_id: str) -> Deletion:
        """Return a record; raises SourceUnavailable when it is gone, for nothing deletes any."""
        document = self._retrying(lambda: self._records.find_one({"_id": ObjectId(record_id)}))
        if document is None:
            raise _gone(record_id)
        return Deletion.from_document(document)

    def look(self, record_id: str) -> tuple[Deletion, bool]:
        """Return a record, and whether a worker holds it."""
        found = self._with_now({"_id": ObjectId(record_id)}, 1)
        if not found:
            raise _gone(record_id)
        return found[0][0], is_leased(*found[0])

    def open_ones(self, *, limit: int = 100) -> list[Deletion]:
        """Return open records, oldest first."""
        return [record for record, _ in self._open_ones(limit)]

    def open_longer_than(self, age: timedelta, *, most: timedelta) -> list[Deletion]:
        """Return the open records that were requested so long ago, but not longer than `most`; oldest first."""
        return [record for record, now in self._open_ones(_OPEN_AT_MOST) if age <= now - record.requested < most]

    def due(self, limit: int = 100) -> list[Deletion]:
        """Return the open records that nobody works on, and are due again: the later, the more often tried."""
        return [record for record, now in self._open_ones(limit) if _is_due(record, now)]

    def completed_since(self, moment: datetime, limit: int = 20) -> list[tuple[datetime, Deletion]]:
        """Return deletions that were completed after `moment`, and when, earliest first."""
        query, order = {"date.completed": {"$gt": moment}}, [("date.completed", 1)]
        found = self._retrying(lambda: list(self._records.find(query).sort(order).limit(limit)))
        return [(document["date"]["completed"], Deletion.from_document(document)) for document in found]

    def somebody_is_at_work(self) -> bool:
        """Return whether a worker holds one of the open records."""
        return any(is_leased(record, now) for record, now in self._open_ones(_OPEN_AT_MOST))

    def respected_by(self, campaign_id: str, created: datetime) -> list[Respected]:
        """Return whom deletions forbid an export of the campaign that was requested at `created`.

        These are the open ones, and those that were completed since then, as far as clocks can tell. To be asked after
        the export was claimed.
        """
        # The open ones first, by a query of their own: one that is completed between the two is in both, and a single
        # query that looks into two indexes might miss it in either.
        found = [
            record
            for record in self._find({"status": DeletionStatus.OPEN.value})
            if campaign_id in record.get("campaigns", (campaign_id,))
        ]
        since = created - timedelta(seconds=CLOCK_SKEW_SECONDS)
        found += self._find({"campaigns": campaign_id, "date.completed": {"$gte": since}})
        return list({str(record["_id"]): Respected.from_document(record) for record in found}.values())

    def respected_since(self, moment: datetime) -> list[Respected]:
        """Return the deletions that are open, or were completed since `moment`, as far as clocks can tell.

        For an export that was claimed at `moment`, to look for these people in its file before it publishes.
        """
        since = moment - timedelta(seconds=CLOCK_SKEW_SECONDS)
        # The open ones first, as above.
        found = self._find({"status": DeletionStatus.OPEN.value})
        found += self._find({"date.completed": {"$gte": since}})
        return list({str(record["_id"]): Respected.from_document(record) for record in found}.values())

    def _find(self, query: Document) -> list[Document]:
        wanted = dict.fromkeys(("userHash", "keyCheck", "people", "covers", "campaigns"), 1)
        return self._retrying(lambda: list(self._records.find(query, wanted)))

    def _open_ones(self, limit: int) -> list[tuple[Deletion, datetime]]:
        return self._with_now({"status": DeletionStatus.OPEN.value}, limit)

    def _with_now(self, query: Document, limit: int) -> list[tuple[Deletion, datetime]]:
        pipeline = [{"$match": query}, {"$sort": dict(schema.ORDER)}, {"$limit": limit}, {"$addFields": {"now": NOW}}]
        documents = self._retrying(lambda: list(self._records.aggregate(pipeline)))
        return [(Deletion.from_document(document), document["now"]) for document in documents]

    def _end(self, record: Deletion, change: Document, more: Document | None = None, *gone: str) -> None:
        """End a try: give up the lease, change an open record that meets `more`, and take its fields `gone` away."""
        condition: Document = {"_id": ObjectId(record.id), "status": DeletionStatus.OPEN.value, **(more or {})}
        self._update(condition, [{"$set": _counts() | change}, {"$unset": ["leaseUntil", "leaseId", *gone]}])

    def _update(self, condition: Document, change: Document | list[Document]) -> None:
        self._retrying(lambda: self._records.update_one(condition, change))

    def _retrying(self, operation: Callable[[], T]) -> T:
        return with_retries(self._records, operation, self._limits)


def wait_seconds(tries: int) -> float:
    """Return how long an open record rests after so many tries."""
    return min(_FIRST_WAIT_SECONDS * 2 ** max(0, tries - 1), _LONGEST_WAIT_SECONDS)


def _searching(record: Deletion) -> Document:
    """Return the condition for a record whose user is looked for by the try that `record` is of."""
    return {"_id": ObjectId(record.id), "covers": record.covers, "campaigns": {"$exists": False}}


def _gone(record_id: str) -> SourceUnavailable:
    """Make the error of a record that is not there: nothing deletes any."""
    return SourceUnavailable(f"collection {DELETIONS}: record {record_id} is gone", payload=DELETIONS)


def is_leased(record: Deletion, now: datetime) -> bool:
    """Return whether a worker holds the record at `now`."""
    return record.lease_until is not None and now < record.lease_until


def _is_due(record: Deletion, now: datetime) -> bool:
    last = record.tried or record.requested
    return not is_leased(record, now) and now - last >= timedelta(seconds=wait_seconds(record.tries))


def _lease() -> Document:
    return {"leaseUntil": {"$add": [NOW, round(LEASE_SECONDS * _MILLIS)]}}


def _counts() -> Document:
    omitted = {"$ifNull": ["$keysOmitted", 0]}
    return {
        "deletedCount.exports": {"$size": "$exports"},
        "deletedCount.files": {"$add": [{"$size": "$keys"}, omitted]},
    }


def _error(problem: Problem) -> Document:
    fields = {"code": problem.code, "message": problem.message, "bucket": problem.bucket, "key": problem.key}
    given = {name: storable(text)[:_TEXT_CHARACTERS] for name, text in fields.items() if text is not None}
    return {name: {"$literal": text} for name, text in given.items()} | {"at": NOW}
