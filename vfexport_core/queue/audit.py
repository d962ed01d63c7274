"""Who asked for what: requests, cancels, retries, download addresses given out, deletions, pauses; kept for a while.

An entry names the subject of a token (or the user of a machine), an action and its target by id, never a fan. It is
written with the action: before it where its target is known, so that none is done without a trace, and with the error's
code as its outcome if the action was refused. Each entry says until when it is kept; MongoDB takes it away then.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, get_args

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateOne

from vfexport_core.errors import VfexportError
from vfexport_core.mongo.document import NOW, storable
from vfexport_core.mongo.own_collections import AUDIT, open_owned
from vfexport_core.mongo.retry import DEFAULT_LIMITS, with_retries
from vfexport_core.mongo.schema_setup import DATE, INDEX_BUILD_LIMITS, TEXT, closed, put_indexes, put_validator
from vfexport_core.queue.models import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from datetime import datetime

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits
    from vfexport_core.queue.models import Export

KEPT_DAYS = 400

_DAY_MILLIS = 86_400_000
_LONGEST_TEXT = 256
_MOST_REMEMBERED = 10_000


class AuditAction(StrEnum):
    REQUEST = "request"
    CANCEL = "cancel"
    RETRY = "retry"
    DOWNLOAD = "download"
    DELETE_USER = "deleteUser"
    DELETE_FILE = "deleteFile"
    EXPIRE = "expire"
    PAUSE = "pause"
    RESUME = "resume"


INDEXES = (
    # MongoDB deletes an entry when its time has come.
    IndexModel([("expires", ASCENDING)], name="expiry", expireAfterSeconds=0),
    IndexModel([("at", DESCENDING), ("_id", DESCENDING)], name="newest_first"),
    IndexModel([("target", ASCENDING), ("at", DESCENDING)], name="by_target"),
)
VALIDATOR: Document = {
    "$jsonSchema": closed(
        ["_id", "at", "expires", "subject", "source", "action"],
        {
            "_id": {"bsonType": "objectId"},
            "at": DATE,
            "expires": DATE,
            "subject": TEXT,
            "source": {"enum": [*get_args(Source)]},
            "action": {"enum": [action.value for action in AuditAction]},
            "target": TEXT,
            "campaignId": TEXT,
            "exportType": TEXT,
            "correlationId": TEXT,
            "outcome": TEXT,
        },
    )
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the subject of a token, ``cli:`` and a machine's user, or ``dagster``; and by which way in.

    The way in is what the entrypoint says, never what the subject looks like: a token may have any.
    """

    subject: str
    source: Source
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry; `target` is the id of an export or of a deletion, `outcome` the code of what refused the action."""

    at: datetime
    subject: str
    source: str
    action: AuditAction
    target: str | None
    campaign_id: str | None
    export_type: str | None
    correlation_id: str | None
    outcome: str | None

    @classmethod
    def from_document(cls, document: Document) -> AuditEntry:
        return cls(
            at=document["at"],
            subject=document["subject"],
            source=document["source"],
            action=AuditAction(document["action"]),
            target=document.get("target"),
            campaign_id=document.get("campaignId"),
            export_type=document.get("exportType"),
            correlation_id=document.get("correlationId"),
            outcome=document.get("outcome"),
        )


class AuditLog:
    """The entries of one database; safe to share between threads. Any method may raise SourceUnavailable.

    Entries that are written here are kept for `days`.
    """

    def __init__(
        self,
        database: Database[dict[str, Any]],
        limits: RetryLimits = DEFAULT_LIMITS,
        *,
        days: int = KEPT_DAYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents = open_owned(database, AUDIT)
        self._limits = limits
        self._days = days
        self._clock = clock
        self._lock = threading.Lock()
        self._given: dict[tuple[str, str, int], float] = {}

    def initialise(self) -> None:
        """Create validator and indexes, or bring them up to date; raises InitialisationFailed."""
        with_retries(self._documents, lambda: put_validator(self._documents, VALIDATOR), self._limits)
        with_retries(self._documents, lambda: put_indexes(self._documents, INDEXES), INDEX_BUILD_LIMITS)

    def note(self, actor: Actor, action: AuditAction, target: str | None, export: Export | None = None) -> ObjectId:
        """Write an entry, about an `export` if it is known, and return its id."""
        entry = ObjectId()
        self._write([(entry, actor, action, {"target": target} | _about(export))])
        return entry

    @contextmanager
    def noted(
        self, actor: Actor, action: AuditAction, target: str | None, export: Export | None = None
    ) -> Generator[None]:
        """Write an entry before the block; an error of ours that leaves the block becomes its outcome."""
        entry = self.note(actor, action, target, export)
        try:
            yield
        except VfexportError as error:
            change = {"$set": {"outcome": error.code}}
            with_retries(self._documents, lambda: self._documents.update_one({"_id": entry}, change), self._limits)
            raise

    def note_downloads(self, actor: Actor, exports: Iterable[Export], seconds: float) -> None:
        """Note that `actor` is given addresses that are good for `seconds`: of each file once in that time.

        Whoever polls is given one with every answer; other processes of the API may note the same.
        """
        now = self._clock()
        with self._lock:
            if len(self._given) > _MOST_REMEMBERED:
                self._given = {key: until for key, until in self._given.items() if until > now}
            new = [one for one in exports if self._given.get(self._download(actor, one), now) <= now]
        self._write((ObjectId(), actor, AuditAction.DOWNLOAD, {"target": one.id} | _about(one)) for one in new)
        with self._lock:  # behind the entries: what could not be written is not taken for noted
            self._given |= {self._download(actor, one): now + seconds for one in new}

    def find(
        self,
        *,
        target: str | None = None,
        subject: str | None = None,
        action: AuditAction | None = None,
        since: datetime | None = None,
        limit: int = 50,
    ) -> list[AuditEntry]:
        """Return up to `limit` entries that fit, newest first."""
        wanted = {"target": target, "subject": subject, "action": action and action.value}
        query: Document = {name: value for name, value in wanted.items() if value is not None}
        if since is not None:
            query["at"] = {"$gte": since}
        order = [("at", DESCENDING), ("_id", DESCENDING)]
        found = with_retries(
            self._documents, lambda: [*self._documents.find(query).sort(order).limit(limit)], self._limits, name="find"
        )
        return [AuditEntry.from_document(document) for document in found]

    def _write(self, entries: Iterable[tuple[ObjectId, Actor, AuditAction, dict[str, str | None]]]) -> None:
        """Insert entries, dated by MongoDB's clock; harmless to repeat."""
        until = {"$add": [NOW, self._days * _DAY_MILLIS]}
        writes: list[UpdateOne] = []
        for entry, actor, action, more in entries:
            texts = {"subject": actor.subject, "source": actor.source, "correlationId": actor.correlation_id} | more
            fields: Document = {
                name: {"$literal": storable(text)[:_LONGEST_TEXT]} for name, text in texts.items() if text is not None
            }
            fields |= {"action": action.value, "at": {"$ifNull": ["$at", NOW]}, "expires": until}
            writes.append(UpdateOne({"_id": entry}, [{"$set": fields}], upsert=True))
        if writes:

            def write() -> object:
                return self._documents.bulk_write(writes, ordered=False)

            with_retries(self._documents, write, self._limits, name="write")

    @staticmethod
    def _download(actor: Actor, export: Export) -> tuple[str, str, int]:
        return actor.subject, export.id, export.attempt


def _about(export: Export | None) -> dict[str, str | None]:
    """Return what an entry says of an export beside its id."""
    return {} if export is None else {"campaignId": export.campaign_id, "exportType": export.export_type}
