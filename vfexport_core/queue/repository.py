"""The queue as callers see it: requests, claims, cancels, retries, and what may be read of it (L1-L3, L5-L8).

Every change is one conditional update. What may happen at the same time is decided by unique indexes and update
conditions; a document is read only to say why an update found nothing to do.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo import DESCENDING, timeout
from pymongo.errors import DuplicateKeyError

from vfexport_core.errors import (
    CampaignNotFound,
    ExportNotCancelable,
    ExportNotClaimable,
    ExportNotRetryable,
    InvalidRequest,
    QueueBusy,
    QueuePaused,
    SourceUnavailable,
)
from vfexport_core.mongo.own_collections import EXPORTS
from vfexport_core.mongo.retry import DEFAULT_LIMITS
from vfexport_core.mongo.schema_setup import INDEX_BUILD_LIMITS, put_indexes, put_validator
from vfexport_core.queue import schema, transitions
from vfexport_core.queue.breakers import BucketBreakers
from vfexport_core.queue.claim_process import new_claim_id
from vfexport_core.queue.claimed import ClaimedExport
from vfexport_core.queue.collection import PAYLOAD_LENGTH, ExportCollection, parse_export_id
from vfexport_core.queue.lease import LEASE_SECONDS
from vfexport_core.queue.models import ACTIVE, FINAL, NO_RETRIES, RETRYABLE, Claim, Export, ExportStatus
from vfexport_core.queue.pause import CLAIM_SECONDS, QueuePause
from vfexport_core.queue.reaper import ExportReaper
from vfexport_core.queue.removal import ExportRemoval
from vfexport_core.queue.statistics.counters import ExportCounters
from vfexport_core.queue.transitions import Claimant, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime, timedelta

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits
    from vfexport_core.queue.models import AutoRetries, FileProblem, NewExport

Exports = list[Export]  # within the class `list` is the method
Position = tuple["datetime", str]

MOST_WAITING = 10_000

_REQUEST_TRIES = 50
_REQUEST_PAUSE_SECONDS = 0.02
_MILLIS = 1_000


class ExportRepository:
    """The exports of one database; safe to share between threads.

    `reaper` ends what is late or lost, `breakers` know the buckets that hang, `pause` keeps everything from being
    claimed, `removal` is for the deletion of a fan's data, `claimed` for whoever has claimed an export. Claims give a
    lease of `lease_seconds`, by MongoDB's clock: a run that has not been heard of for so long may be ended by anybody.
    `guard` is called before anything that the indexes have to hold, and may refuse it. `retries` say how often a
    passing fault is followed by another attempt.

    Any method may raise SourceUnavailable, after as long as `limits` say (some read once more to explain).
    """

    def __init__(
        self,
        database: Database[dict[str, Any]],
        limits: RetryLimits = DEFAULT_LIMITS,
        *,
        lease_seconds: float = LEASE_SECONDS,
        retries: AutoRetries = NO_RETRIES,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self._exports = ExportCollection(database, limits)
        self._guard = guard
        self._lease_millis = round(lease_seconds * _MILLIS)
        self.database = database
        self._retries = retries
        self.reaper = ExportReaper(self._exports, retries)
        self.breakers = BucketBreakers(database, limits)
        self.pause = QueuePause(database, limits)
        self.removal = ExportRemoval(self._exports)

    def claimed(self, claim: Claim) -> ClaimedExport:
        """Return the export that `claim` is of, for the run that holds it."""
        return ClaimedExport(self._exports, claim, self._lease_millis, self._retries)

    def initialise(self) -> None:
        """Create validator and indexes, or bring them up to date, and begin to count what ends (``statistics``).

        Idempotent, and safe in several processes at once. Raises InitialisationFailed when what exists is in the way.
        """
        documents = self._exports.documents
        self._exports.retried(lambda: put_validator(documents, schema.VALIDATOR))
        self._exports.retried(lambda: put_indexes(documents, schema.INDEXES), INDEX_BUILD_LIMITS)
        ExportCounters(documents.database, self._exports.limits).begin()

    def get(self, export_id: str, campaign_id: str | None = None) -> Export:
        """Return one export; raises ExportNotFound (also when an id is not an ObjectId, or of another campaign)."""
        return self._exports.get(export_id, campaign_id)

    def note_file_problem(self, export_id: str, key: str, problem: FileProblem | None) -> bool:
        """Note what is wrong with the file of a FINISHED export under `key`, None: nothing; False if it has no such."""
        transition = transitions.note_file_problem(parse_export_id(export_id), key, problem)
        return self._exports.apply(transition) is not None

    def running(self) -> Export | None:
        """Return the TRIGGERED export; there is one at most (L2)."""
        document = self._exports.find_one({"status": ExportStatus.TRIGGERED.value})
        return None if document is None else Export.from_document(document)

    def held_seconds(self, export_id: str, run_id: str) -> float | None:
        """Return for how long, by MongoDB's clock, a run has held an export; None when it does not hold it.

        Raises ExportNotFound when the id cannot be one.
        """
        held: Document = {"_id": parse_export_id(export_id), "status": ExportStatus.TRIGGERED.value, "runId": run_id}
        for export, now, _ in self._exports.find_with_now(held, limit=1):
            return (now - (export.date.triggered or export.date.created)).total_seconds()
        return None

    def pending(self, limit: int, *, passing_over: Collection[str] = ()) -> Exports:
        """Return the first `limit` PENDING exports in the order of the queue, oldest first, but for those types.

        And but for those that are to be retried later.
        """
        query: Document = {"status": ExportStatus.PENDING.value}
        if passing_over:
            query["exportType"] = {"$nin": sorted(passing_over)}
        found = self._exports.find_due(query, schema.ORDER, limit)
        return [Export.from_document(document) for document in found]

    def pending_positions(self) -> Sequence[tuple[Position, str]]:
        """Return the positions and types of the PENDING exports, in their order; at most `MOST_WAITING`.

        But for those that are to be retried later: others pass them.
        """
        query = {"status": ExportStatus.PENDING.value}
        found = self._exports.find_due(query, schema.ORDER, MOST_WAITING, ["date.created", "exportType", "retryAt"])
        return [((one["date"]["created"], str(one["_id"])), one["exportType"]) for one in found]

    def durations_since(self, moment: datetime, limit: int) -> Sequence[tuple[str, timedelta]]:
        """Return the types of up to `limit` exports that FINISHED after `moment`, and their durations; latest first."""
        query = {"status": ExportStatus.FINISHED.value, "date.finished": {"$gt": moment}}
        found = self._exports.find(query, [("date.finished", DESCENDING)], limit, ["exportType", "date"])
        ran = [(one["exportType"], one["date"]) for one in found if "triggered" in one["date"]]
        return [(export_type, date["finished"] - date["triggered"]) for export_type, date in ran]

    def is_taken(self, export: Export, keys: Collection[str]) -> bool:
        """Return whether another export of the same campaign and type has noted one of these keys for its files.

        Asked by the export that is TRIGGERED, of which there is one (L2); no other can note keys meanwhile (L6).
        """
        query: Document = {"campaignId": export.campaign_id, "exportType": export.export_type}
        query |= {"_id": {"$ne": ObjectId(export.id)}, "attempts.keys": {"$in": [*keys]}}
        return self._exports.find_one(query, ["_id"]) is not None

    def list(
        self,
        *,
        campaign_id: str | None = None,
        export_type: str | None = None,
        status: ExportStatus | None = None,
        campaign_name: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        descending: bool = True,
        limit: int = 50,
        after: tuple[datetime, str] | None = None,
    ) -> Exports:
        """Return up to `limit` exports that fit, in the order of the queue or its reverse, from behind `after` on.

        Those created from `since` on and before `until`, when the campaign's whole name was `campaign_name`. `after` is
        `Export.position` of the last one seen: pages stay right while exports are added and removed.
        """
        wanted = {"campaignId": campaign_id and campaign_id.lower(), "exportType": export_type, "status": status}
        wanted["campaignName"] = campaign_name
        query: Document = {name: str(value) for name, value in wanted.items() if value is not None}
        bounds = {"$gte": since, "$lt": until}
        between = {operator: moment for operator, moment in bounds.items() if moment is not None}
        if between:
            query["date.created"] = between
        order = schema.ORDER_NEWEST_FIRST if descending else schema.ORDER
        if after is None:
            return self._find(query, order, limit)
        # Two questions, each one stretch of the index; as one, with $or, not every server uses the index for it.
        ties, beyond = _behind(after, descending=descending)
        found = self._find(query | ties, order, limit)
        if len(found) == limit:
            return found
        # The last one seen is between the two, so its moment takes the place of the one that it is nearer to.
        return found + self._find(query | {"date.created": between | beyond}, order, limit - len(found))

    def request(self, new: NewExport) -> tuple[Export, bool]:
        """Queue an export (L1), or return the one of the same campaign, type and date that is still active (L3).

        True when the export is new. With an id, there is one export of it: asked for again, it is returned, whatever
        became of it. Raises CampaignNotFound when the campaign's id cannot be one.
        """
        if not ObjectId.is_valid(new.campaign_id):
            raise CampaignNotFound("the campaign's id is not an ObjectId", payload=new.campaign_id[:PAYLOAD_LENGTH])
        self._guard()
        document = new.to_document()
        export_id = ObjectId(new.id)
        for _ in range(_REQUEST_TRIES):
            found = self._exports.retried(lambda: self._insert_or_find(export_id, document))
            if found is not None:
                return Export.from_document(found), found["_id"] == export_id
            # The active one ended between our insertion and our look at it, or is not yet visible.
            time.sleep(_REQUEST_PAUSE_SECONDS)
        raise SourceUnavailable(
            f"collection {EXPORTS}: neither a new export nor the active one could be found", payload=EXPORTS
        )

    def claim(self, export_id: str, run_id: str, attempt: int | None = None) -> tuple[Claim, Export]:
        """Take a PENDING export for `run_id`; asking this store again for the same run gives the same claim.

        With `attempt`, only that attempt: a run that was queued for an earlier one does not take a later one's place.
        Raises QueueBusy while another export is TRIGGERED (L2), or this one is by another process of the same run,
        QueuePaused, and ExportNotClaimable when it is not PENDING.
        """
        document = self._claim(transitions.claim(self._claimant(run_id), parse_export_id(export_id), attempt))
        return self._held(document, export_id, run_id, attempt)

    def claim_again(self, export_id: str, run_id: str, attempt: int) -> tuple[Claim, Export]:
        """Start the attempt after `attempt` of an export that has ended, FINISHED ones too, and claim it, in one step.

        Raises QueueBusy while another export is TRIGGERED, QueuePaused (nothing has changed then), and
        ExportNotClaimable when it is active, when another of the same campaign, type and date is (L3), or when it is no
        longer in `attempt`.
        """
        transition = transitions.claim_again(self._claimant(run_id), parse_export_id(export_id), attempt)
        document = self._claim(transition, refuse=lambda: self._refuse_beside_equal(self.get(export_id)))
        return self._held(document, export_id, run_id, attempt + 1)

    def request_cancel(self, export_id: str, campaign_id: str | None = None) -> Export:
        """Cancel a PENDING export at once; have a TRIGGERED one ended by its run, at its next sign of life.

        Two calls at the same time both get the same answer. Raises ExportNotFound, and ExportNotCancelable when the
        export had ended before.
        """
        seen = self.get(export_id, campaign_id)
        wanted = seen
        while wanted.status in ACTIVE:
            document = self._exports.apply(transitions.cancel_pending(ObjectId(seen.id)))
            document = document or self._exports.apply(transitions.request_cancel(ObjectId(seen.id)))
            wanted = Export.from_document(document) if document else self.get(export_id, campaign_id)
            if document is not None:
                return wanted
        if seen.status in ACTIVE and wanted.status is ExportStatus.CANCELED:
            return wanted
        raise ExportNotCancelable(f"export {wanted.id} is {wanted.status}", payload=wanted.id)

    def close_run(
        self,
        export_id: str,
        run_id: str,
        status: ExportStatus,
        error: Document | None,
        attempt: int | None = None,
        *,
        is_transient: bool = False,
    ) -> bool:
        """End as FAILED, EXPIRED or CANCELED the export that `run_id` holds: for whoever sees a run end.

        With `attempt`, the number the run was started for, also a PENDING export of that attempt: its run ended without
        claiming it. False when there was nothing to do. What FAILED by a fault that is transient is not closed as long
        as there may be another attempt: the export is PENDING in the next one, or stays so.
        """
        if status not in RETRYABLE:
            raise ValueError(f"a run cannot be closed as {status}")
        if is_transient and status is ExportStatus.FAILED and self._retries.most:
            held = transitions.close_run(parse_export_id(export_id), run_id, status, error, None)
            if self._exports.apply(transitions.retry_later(held, self._retries)) is not None:
                return True
            attempt = None
        transition = transitions.close_run(parse_export_id(export_id), run_id, status, error, attempt)
        return self._exports.apply(transition) is not None

    def retry(self, export_id: str, campaign_id: str | None = None, *, redeliver: bool = False) -> Export:
        """Queue the next attempt of a FAILED, EXPIRED or CANCELED export (L8); `redeliver`: of a FINISHED one as well.

        Two calls at the same time start one attempt, and both get it. Raises ExportNotFound, and ExportNotRetryable
        when it is active, or when another export of the same campaign, type and date is (L3).
        """
        self._guard()
        seen = self.get(export_id, campaign_id)
        transition = transitions.retry(ObjectId(seen.id), seen.attempt, redeliver=redeliver)
        try:
            document = self._exports.apply(transition)
        except DuplicateKeyError:
            raise ExportNotRetryable(
                "another export of this campaign, type and date is PENDING or TRIGGERED", payload=seen.id
            ) from None
        if document is not None:
            return Export.from_document(document)
        now = self.get(export_id, campaign_id)
        if now.attempt > seen.attempt:
            return now
        if not now.has_room:
            raise ExportNotRetryable(_no_room(now), payload=now.id)
        raise ExportNotRetryable(f"export {now.id} is {now.status}", payload=now.id)

    @cached_property
    def _claim_id(self) -> str:
        return new_claim_id()

    def _claimant(self, run_id: str) -> Claimant:
        return Claimant(run_id, self._claim_id, self._lease_millis)

    def _claim(self, transition: Transition, refuse: Callable[[], None] = lambda: None) -> Document | None:
        """Try to claim; `refuse` may say that it is not another TRIGGERED export that is in the way."""
        self._guard()
        own: Document = {"_id": transition.condition["_id"], "claimId": self._claim_id}
        own["status"] = ExportStatus.TRIGGERED.value
        is_tried = False

        def take() -> Document | None:
            nonlocal is_tried
            with timeout(CLAIM_SECONDS):
                try:
                    self.pause.check_once()
                except QueuePaused:
                    # An earlier try may have claimed it, before the pause: only its answer was lost.
                    claimed = self._exports.documents.find_one(own) if is_tried else None
                    if claimed is None:
                        raise
                    return claimed
                is_tried = True
                return self._exports.apply_once(transition)

        try:
            return self._exports.retried(take)
        except DuplicateKeyError:
            refuse()
            running = self.running()
            other = "another export" if running is None else f"export {running.id}"
            raise QueueBusy(f"{other} is TRIGGERED", payload=None if running is None else running.id) from None

    def _held(self, claimed: Document | None, export_id: str, run_id: str, attempt: int | None) -> tuple[Claim, Export]:
        """Return the claim, also one that was made before: MongoDB's answer to that may have been lost."""
        export = Export.from_document(claimed) if claimed else self.get(export_id)
        is_of_run = export.status is ExportStatus.TRIGGERED and export.run_id == run_id
        if is_of_run and export.claim_id != self._claim_id:
            # Dagster queues a run again when the code server dies while it starts it: it may then run twice.
            raise QueueBusy(f"export {export.id} is TRIGGERED by another process of this run", payload=export.id)
        if export.status in FINAL and not export.has_room:
            raise ExportNotClaimable(_no_room(export), payload=export.id)
        if not is_of_run or attempt not in {None, export.attempt}:
            raise ExportNotClaimable(
                f"export {export_id} is {export.status}, in attempt {export.attempt}", payload=export_id
            )
        return Claim(export.id, export.attempt, run_id), export

    def _refuse_beside_equal(self, export: Export) -> None:
        """Raise ExportNotClaimable when another export of the same campaign, type and date key is active."""
        equal: Document = {"campaignId": export.campaign_id, "exportType": export.export_type}
        equal |= {"dateKey": export.date_key, "status": {"$in": sorted(ACTIVE)}, "_id": {"$ne": ObjectId(export.id)}}
        found = self._exports.find_one(equal)
        if found is not None:
            raise ExportNotClaimable(
                f"export {found['_id']} of the same campaign, type and date key is {found['status']}",
                payload=str(found["_id"]),
            )

    def _find(self, query: Document, order: Sequence[tuple[str, int]], limit: int) -> Exports:
        return [Export.from_document(document) for document in self._exports.find(query, order, limit)]

    def _insert_or_find(self, export_id: ObjectId, document: Document) -> Document | None:
        """Insert; when that is refused, return what is in the way: the active export, or our own of an earlier try."""
        documents = self._exports.documents
        try:
            # An update that inserts, because only an update knows the server's clock; no document meets its condition.
            documents.update_one(
                {"_id": export_id, "status": {"$exists": False}},
                {"$setOnInsert": document, "$currentDate": {"date.created": True}},
                upsert=True,
            )
        except DuplicateKeyError:
            active: Document = {name: document.get(name) for name in ("campaignId", "exportType", "dateKey")}
            active["status"] = {"$in": sorted(ACTIVE)}
            own = documents.find_one({"_id": export_id})
            return own or documents.find_one(active)
        return documents.find_one({"_id": export_id})


def _no_room(export: Export) -> str:
    return (
        f"export {export.id} keeps {len(export.attempts)} attempts, whose files are on S3 or not cleaned up yet: "
        "request a new export"
    )


def _behind(after: tuple[datetime, str], *, descending: bool) -> tuple[Document, Document]:
    """Return the conditions for what is behind a position: one for its moment, one on `date.created` beyond."""
    created, export_id = after
    if not ObjectId.is_valid(export_id):
        raise InvalidRequest("the cursor is not one of ours", payload="cursor")
    beyond = "$lt" if descending else "$gt"
    return {"date.created": created, "_id": {beyond: ObjectId(export_id)}}, {beyond: created}
