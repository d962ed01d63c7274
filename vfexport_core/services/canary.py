"""A canary: a tiny synthetic campaign is exported by whoever runs exports, its file looked at, and all is taken away.

Its ids are its own and always the same: what one that was killed leaves, the next one finds. The campaign's document is
taken by one conditional update: two canaries at a time do not disturb each other.
"""

from __future__ import annotations

import hashlib
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from vfexport_core.catalog import ExportType, find_spec
from vfexport_core.ccpa.file_index import FileIndex, file_of
from vfexport_core.errors import DeliveryFailed, ExportNotCancelable, ExportNotFound
from vfexport_core.mongo.document import NOW
from vfexport_core.mongo.retry import DEFAULT_LIMITS, with_retries
from vfexport_core.queue.audit import Actor
from vfexport_core.queue.models import FINAL, ExportStatus
from vfexport_core.queue.repository import MOST_WAITING
from vfexport_core.services import exports

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.collection import Collection

    from vfexport_core.mongo.document import Document
    from vfexport_core.queue.models import Attempt, Export
    from vfexport_core.services.bootstrap import Backend

CAMPAIGN_ID = "0000000063616e6172790001"
"""Ids of the canary say "canary" in their middle, and are older than any that was ever made."""
WAIT_SECONDS = 120.0

_MARKET_ID = "0000000063616e6172790002"
_USER_IDS = ("0000000063616e6172790011", "0000000063616e6172790012", "0000000063616e6172790013")
_TYPE = ExportType.ENTRIES
_REQUESTER = "doctor"
# A canary takes as long as it waits, and seconds more: one that is older was killed.
_ABANDONED = timedelta(minutes=15)
_CANCEL_SECONDS = 15.0
_POLL_SECONDS = 0.5
_FETCH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """How it went: `problem` is None when the file was right."""

    problem: str | None
    hint: str
    seconds: float
    is_certain: bool = True
    """Whether a problem is one of the service; else it could not be tried."""


def send_canary(backend: Backend, *, wait_seconds: float = WAIT_SECONDS) -> CanaryResult:
    """Export the synthetic campaign, waiting so long for its file, and leave nothing of it.

    Raises SourceUnavailable, NotInitialized, ConfigurationError, DeliveryFailed, DeliveryRefused.
    """
    began = time.monotonic()
    token = uuid4().hex
    if not _take(backend, token):
        hint = "Wait for it; one that was killed is taken away after a quarter of an hour."
        return CanaryResult("another canary is under way", hint, 0.0, is_certain=False)
    try:
        _remove_exports(backend)  # of one that was killed
        _put_documents(backend)
        export = _export(backend, began + wait_seconds)
        problem, hint, is_certain = _judge(backend, export)
        return CanaryResult(problem, hint, time.monotonic() - began, is_certain)
    finally:
        try:
            _remove_exports(backend)
        finally:
            _remove_documents(backend)


def _take(backend: Backend, token: str) -> bool:
    """Mark the campaign as ours, unless it is that of a canary that may still be alive."""
    campaigns = backend.database["campaigns"]
    this: Document = {"_id": ObjectId(CAMPAIGN_ID)}

    def take() -> bool:
        found = next(iter(campaigns.aggregate([{"$match": this}, {"$addFields": {"now": NOW}}])), None)
        if found is None:
            with suppress(DuplicateKeyError):  # another one was quicker: then the mark is not ours
                campaigns.insert_one(this | {"name": "vfexport canary", "canary": {"token": token}})
            mark = {"token": token}
        else:
            mark = found["canary"]
            if mark["token"] != token and "since" in mark and found["now"] - mark["since"] < _ABANDONED:
                return False
        ours = {"token": token, "since": NOW}
        changed = campaigns.update_one(this | {"canary.token": mark["token"]}, [{"$set": {"canary": ours}}])
        return changed.matched_count == 1

    return with_retries(campaigns, take, DEFAULT_LIMITS, name="update")


def _put_documents(backend: Backend) -> None:
    now = datetime.now(UTC)
    market = {"_id": ObjectId(_MARKET_ID), "campaignId": CAMPAIGN_ID, "name": "Canary", "countryCode": "US"}
    _put(backend.database["markets"], [market])
    people = [
        {
            "_id": ObjectId(user),
            "integrations": {"ticketmaster": {"email": f"{user}@canary.invalid", "member_id": user}},
        }
        for user in _USER_IDS
    ]
    _put(backend.database["users"], people)
    entries = [
        {
            "_id": {"campaign_id": CAMPAIGN_ID, "user_id": user},
            "date": {"created": now - timedelta(days=1)},
            "locale": "en-us",
            "fields": {"market": _MARKET_ID, "first_name": "=canary", "last_name": "Ü, “quoted”"},
        }
        for user in _USER_IDS
    ]
    _put(backend.database["entries"], entries)


def _put(collection: Collection[dict[str, Any]], documents: list[dict[str, Any]]) -> None:
    for document in documents:
        _retried(
            collection,
            lambda document=document: collection.replace_one({"_id": document["_id"]}, document, upsert=True),
        )


def _remove_documents(backend: Backend) -> None:
    """Take away the sources, the campaign last: while it is there, the next canary knows that something may be left."""
    database = backend.database
    ids = [{"campaign_id": CAMPAIGN_ID, "user_id": user} for user in _USER_IDS]
    for name, query in (
        ("entries", {"_id": {"$in": ids}}),
        ("users", {"_id": {"$in": [ObjectId(user) for user in _USER_IDS]}}),
        ("markets", {"_id": ObjectId(_MARKET_ID)}),
        ("campaigns", {"_id": ObjectId(CAMPAIGN_ID)}),
    ):
        collection = database[name]
        _retried(collection, lambda collection=collection, query=query: collection.delete_many(query))


def _retried(collection: Collection[dict[str, Any]], operation: Callable[[], object]) -> None:
    with_retries(collection, operation, DEFAULT_LIMITS, name="write")


def _export(backend: Backend, deadline: float) -> Export:
    wanted = exports.ExportRequest(
        spec=find_spec(_TYPE),
        campaign_id=CAMPAIGN_ID,
        date_key=None,
        include_all_markets=False,
        by=Actor(_REQUESTER, "cli", f"canary-{uuid4().hex}"),
    )
    export, _ = exports.request(backend, wanted)
    return _wait(backend, export, deadline)


def _wait(backend: Backend, export: Export, deadline: float) -> Export:
    """Return the export as it is when it has ended, or when the time is over."""
    while export.status not in FINAL and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        export = backend.queue.get(export.id)
    return export


def _judge(backend: Backend, export: Export) -> tuple[str | None, str, bool]:
    """Return what is wrong (None: nothing), what to do, and whether that is a fault of the service."""
    if export.status is ExportStatus.PENDING:
        running = backend.queue.running()
        if running is not None:
            return f"export {running.id} runs, and it is not the canary's turn", "Ask again later.", False
        held_up = _held_up(backend, export)
        if held_up is not None:
            return f"it waits, and nobody may take it up: {held_up}", "Ask again when that is over.", False
        return "nothing takes it up", "See whether Dagster's daemon and the code location are well.", True
    if export.status is ExportStatus.TRIGGERED:
        return "its run takes too long", "Look at the run in the Dagster UI.", True
    if export.status is not ExportStatus.FINISHED:
        error = export.error or {}
        return f"it is {export.status}: {error.get('code')}: {error.get('message')}", "Look at its run's log.", True
    problem = _problem_of_file(backend, export)
    return problem, "" if problem is None else "Look at the bucket and at the run's log.", True


def _held_up(backend: Backend, export: Export) -> str | None:
    """Return why a PENDING export is not to be claimed now; None when it is."""
    pause = backend.queue.pause.read()
    if pause is not None:
        return str(pause)
    breaker = backend.queue.breakers.waiting_types().get(export.export_type)
    if breaker is not None:
        return str(breaker)
    if export.retry_at is None:
        return None
    # The queue leaves out what is not due yet, by MongoDB's clock.
    is_due = any(one.id == export.id for one in backend.queue.pending(MOST_WAITING))
    return None if is_due else export.retry_reason


def _problem_of_file(backend: Backend, export: Export) -> str | None:
    """Download the file as a caller does, by a signed address, and compare it with what the export says."""
    (key,) = export.keys
    address = backend.buckets.sign_download(find_spec(_TYPE).bucket, key, 60)
    try:
        with urllib.request.urlopen(address, timeout=_FETCH_SECONDS) as answer:  # noqa: S310 signed by ourselves
            body: bytes = answer.read()
    except OSError as error:
        raise DeliveryFailed(
            f"the signed address gives no file: {type(error).__name__}", payload=export.bucket
        ) from None
    if hashlib.sha256(body).hexdigest() != export.sha256.get(key):
        return "the file is not the one that was delivered: its digest differs"
    rows = len(body.splitlines()) - 1
    if rows != len(_USER_IDS) or export.count != rows:
        return f"the file has {rows} rows in place of {len(_USER_IDS)}"
    return None


def _remove_exports(backend: Backend) -> None:
    """Take away every export of the campaign that has ended, file and all; one that runs is cancelled first.

    What a lost attempt may still bring to pass is the reaper's: its export stays for the next canary.
    """
    found = backend.queue.removal.of_campaigns([CAMPAIGN_ID], [_TYPE], None, 100)
    for export, _ in found:
        ended = export
        if export.status not in FINAL:
            try:
                with suppress(ExportNotCancelable):  # it has ended meanwhile
                    backend.queue.request_cancel(export.id)
                ended = _wait(backend, export, time.monotonic() + _CANCEL_SECONDS)
            except ExportNotFound:  # another one has taken it away
                continue
        if ended.status in FINAL and not any(_is_open(attempt) for attempt in ended.attempts):
            _remove_files(backend, ended)
            backend.queue.removal.remove(ended)


def _is_open(attempt: Attempt) -> bool:
    return attempt.is_lost and bool(attempt.keys) and not (attempt.cleaned or attempt.drained)


def _remove_files(backend: Backend, export: Export) -> None:
    keys = {key for attempt in export.attempts for key in attempt.keys} | {*export.keys}
    if keys:
        likely = find_spec(_TYPE).bucket
        store = backend.buckets.store_named(export.bucket or likely, likely=likely)
        versions = [version for found in store.list(sorted(keys)).values() for version in found]
        left = store.delete(versions)
        if left:
            raise next(iter(left.values()))
    files = [file_of(export.id, attempt) for attempt in range(1, export.attempt + 1)]
    FileIndex(backend.database, DEFAULT_LIMITS).forget(files)
