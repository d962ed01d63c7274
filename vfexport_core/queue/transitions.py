"""Every change of an export's state, as data: a condition and an update, done together by the database.

The update is an aggregation pipeline, so that it can use the server's clock (``$$NOW``) and the document's own
``attempt``. In a pipeline a string that begins with ``$`` is an expression: whatever comes from outside goes through
`_literal`. A nested document in ``$set`` merges on MongoDB but replaces on the embedded server: single fields are
always set by dotted path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from vfexport_core.mongo.document import NOW, storable
from vfexport_core.queue.models import (
    FINAL,
    KEPT_ATTEMPTS,
    MOST_ATTEMPTS,
    RETRYABLE,
    AutoRetries,
    Claim,
    ExportStatus,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from vfexport_core.mongo.document import Document
    from vfexport_core.queue.models import Delivered, Export, FileProblem

DATE_FIELDS = {
    ExportStatus.TRIGGERED: "date.triggered",
    ExportStatus.FINISHED: "date.finished",
    ExportStatus.FAILED: "date.failed",
    ExportStatus.EXPIRED: "date.expired",
    ExportStatus.CANCELED: "date.canceled",
}
# What belongs to one attempt only; `attempts` keeps what is worth remembering.
_OF_ONE_ATTEMPT = [
    *("runId", "claimId", "leaseUntil", "cancelRequested"),
    "requests",  # in documents of earlier versions
    *("bucket", "key", "keys", "count", "progress", "bytes", "sha256", "meta", "error", "fileProblem"),
]
# Of an attempt that follows by itself: when, and which one in a row it is.
_OF_AUTO_RETRIES = ["retryAt", "autoRetries"]
_ERROR_LIMITS = {"code": 64, "message": 2_000, "payload": 256}
# Of an attempt whose end was not that of its export: the next one was there in the same step.
_FOLLOWED: Document = {"followed": True}
_MILLIS = 1_000
_HAS_ROOM: Document = {f"attempts.{MOST_ATTEMPTS - 1}": {"$exists": False}}


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims: a run, and the process of it (`claim_id`), should Dagster start it twice."""

    run_id: str
    claim_id: str
    lease_millis: int


@dataclass(frozen=True, slots=True)
class Transition:
    """Apply `pipeline` to the one document that meets `condition`; if none does, nothing happens."""

    condition: Document
    pipeline: list[Document]


def claim(claimant: Claimant, export_id: ObjectId, attempt: int | None) -> Transition:
    """PENDING -> TRIGGERED; the unique index on TRIGGERED refuses it while another export runs (L2)."""
    condition: Document = {"_id": export_id, "status": ExportStatus.PENDING.value}
    if attempt is not None:
        condition["attempt"] = attempt
    return Transition(condition, [_claimed(claimant)])


def claim_again(claimant: Claimant, export_id: ObjectId, attempt: int) -> Transition:
    """Start attempt `attempt` + 1 of an ended export and claim it, in one step: nobody else sees it PENDING (L8)."""
    condition = {"_id": export_id, "attempt": attempt, "status": {"$in": sorted(FINAL)}} | _HAS_ROOM
    return Transition(condition, [*_next_attempt(attempt + 1), _claimed(claimant)])


def set_count(claim: Claim, count: int) -> Transition:
    """Note the preliminary number of rows."""
    return Transition(fence(claim), [{"$set": {"count": count, "progress.updated": NOW}}])


def progress(claim: Claim, read: int, rows: int, size: int, lease_millis: int) -> Transition:
    """Note how far the run is (documents read, rows and bytes written), and renew its lease."""
    return Transition(fence(claim), [{"$set": _progress(read, rows, size) | _lease(lease_millis)}])


def note_keys(claim: Claim, bucket: str, keys: Sequence[str]) -> Transition:
    """Add to the keys of the current attempt; what was noted before stays noted."""
    noted: Document = {"$ifNull": ["$$entry.keys", []]}
    new = {"$filter": {"input": _literal(list(keys)), "as": "key", "cond": {"$not": [{"$in": ["$$key", noted]}]}}}
    change = {"bucket": _literal(bucket), "keys": {"$concatArrays": [noted, new]}}
    return Transition(fence(claim), [{"$set": {"attempts": _in_current_attempt(change), "progress.updated": NOW}}])


def check_fence(claim: Claim, lease_millis: int) -> Transition:
    """Prove the fence and renew the lease, by a write: a deposed primary can answer a read, but not this."""
    return Transition(fence(claim), [{"$set": {"progress.updated": NOW} | _lease(lease_millis)}])


def finish(claim: Claim, delivered: Delivered) -> Transition:
    """TRIGGERED -> FINISHED, with what was delivered (L7)."""
    status = ExportStatus.FINISHED
    files = {name: _literal(value) for name, value in delivered.to_fields().items()}
    progress = {"progress.rows": delivered.rows, "progress.bytes": delivered.bytes, "progress.updated": NOW}
    # A run that is shorter than a heartbeat's interval never told how much it read.
    if "read" in delivered.meta:
        progress["progress.read"] = delivered.meta["read"]
    entry = {"status": status.value, "ended": NOW, "rows": delivered.rows, "bytes": delivered.bytes}
    closed = {"attempts": _in_current_attempt(entry)}
    change = {"status": status.value, DATE_FIELDS[status]: NOW} | files | progress | closed
    # What was wrong with an earlier file: the version before this one leaves it when it starts a new attempt.
    return Transition(fence(claim), [{"$set": change}, {"$unset": ["fileProblem"]}])


def close(claim: Claim, status: ExportStatus, error: Document | None, *, drained: bool) -> Transition:
    """TRIGGERED -> FAILED, EXPIRED or CANCELED, by the run itself; `drained`: it has no request under way."""
    entry = _ended(status, error) | ({"settled": True} if drained else {})
    return Transition(fence(claim), [{"$set": _closed(status, error) | {"attempts": _in_current_attempt(entry)}}])


def reap(export: Export, status: ExportStatus, error: Document | None) -> Transition:
    """End an export whose worker is late or gone, unless worker or user were heard of since `export` was read."""
    condition = fence(Claim(export.id, export.attempt, export.run_id or ""))
    if status is not ExportStatus.EXPIRED:  # one that expires may well be alive, and expires when cancelled as well
        condition |= {"leaseUntil": export.lease_until, "cancelRequested": export.cancel_requested}
    entry = _ended(status, error)
    return Transition(condition, [{"$set": _closed(status, error) | {"attempts": _in_current_attempt(entry)}}])


def cancel_pending(export_id: ObjectId) -> Transition:
    """PENDING -> CANCELED, before any run has claimed it."""
    status = ExportStatus.CANCELED
    entry: Document = {"attempt": "$attempt"} | _ended(status, None)
    change = {"status": status.value, DATE_FIELDS[status]: NOW, "attempts": _with_entry(entry)}
    return Transition({"_id": export_id, "status": ExportStatus.PENDING.value}, [{"$set": change}])


def request_cancel(export_id: ObjectId) -> Transition:
    """Ask whoever runs the export to end it; asking again changes nothing."""
    condition = {"_id": export_id, "status": ExportStatus.TRIGGERED.value}
    return Transition(condition, [{"$set": {"cancelRequested": {"$ifNull": ["$cancelRequested", NOW]}}}])


def note_cleaned(export: Export, cleanup_due: datetime, *, again: datetime | None) -> Transition:
    """Note that all lost attempts were cleaned up: for good, or to be looked at again at a moment."""
    condition = {"_id": ObjectId(export.id), "cleanupDue": cleanup_due}
    if again is not None:
        return Transition(condition, [{"$set": {"cleanupDue": again}}])
    lost = {"$in": ["$$entry.attempt", [attempt.attempt for attempt in export.attempts if attempt.is_lost]]}
    cleaned = {"$cond": [lost, {"$mergeObjects": ["$$entry", {"cleaned": True}]}, "$$entry"]}
    attempts = {"$map": {"input": "$attempts", "as": "entry", "in": cleaned}}
    return Transition(condition, [{"$set": {"attempts": attempts}}, {"$unset": ["cleanupDue"]}])


def close_run(
    export_id: ObjectId, run_id: str, status: ExportStatus, error: Document | None, attempt: int | None
) -> Transition:
    """Close what `run_id` left behind; with `attempt` also the PENDING export that the run should have claimed."""
    held: Document = {"status": ExportStatus.TRIGGERED.value, "runId": run_id}
    waiting: Document = {"status": ExportStatus.PENDING.value, "attempt": attempt}
    condition: Document = {"_id": export_id} | (held if attempt is None else {"$or": [held, waiting]})
    entry = _ended(status, error)
    # A run that never claimed has no entry yet; every attempt that ended has one.
    missing = {"attempt": "$attempt", "runId": _literal(run_id)} | entry
    attempts = {
        "$cond": [
            {"$eq": ["$status", ExportStatus.PENDING.value]},
            _with_entry(missing),
            _in_current_attempt(entry),
        ]
    }
    return Transition(condition, [{"$set": _closed(status, error) | {"attempts": attempts}}])


def retry(export_id: ObjectId, attempt: int, *, redeliver: bool) -> Transition:
    """Start attempt `attempt` + 1 (L8): the condition on `attempt` makes two presses of the button one retry."""
    statuses = RETRYABLE | ({ExportStatus.FINISHED} if redeliver else set())
    condition: Document = {"_id": export_id, "attempt": attempt, "status": {"$in": sorted(statuses)}}
    return Transition(condition | _HAS_ROOM, _next_attempt(attempt + 1))


def retry_later(end: Transition, retries: AutoRetries) -> Transition:
    """Turn what ends an attempt as FAILED into PENDING, in the next attempt, after a pause: TRIGGERED -> PENDING.

    The ended attempt is kept in `attempts`. Nothing happens when there were as many in a row as `retries` allow, or
    somebody wants the export to be cancelled.
    """
    condition = end.condition | _HAS_ROOM
    condition |= {"cancelRequested": {"$exists": False}, "autoRetries": {"$not": {"$gte": retries.most}}}
    before: Document = {"$ifNull": ["$autoRetries", 0]}
    pause = {"$multiply": [retries.first_seconds * _MILLIS, {"$pow": [4, before]}]}
    bounded = {"$toLong": {"$min": [retries.LONGEST_PAUSE_SECONDS * _MILLIS, pause]}}
    due: Document = {"retryAt": {"$add": [NOW, bounded]}, "autoRetries": {"$add": [before, 1]}}
    due["attempts"] = _in_current_attempt(_FOLLOWED)
    return Transition(condition, [*end.pipeline, {"$set": due}, *_next_attempt({"$add": ["$attempt", 1]}, forget=())])


def requeue(export: Export, error: Document) -> Transition:
    """TRIGGERED -> PENDING, or CANCELED if that was asked for; what the lost attempt leaves on S3 is cleaned up."""
    condition = fence(Claim(export.id, export.attempt, export.run_id or ""))
    entry = _ended(ExportStatus.CANCELED, error)
    change: Document = {"attempts": _in_current_attempt(entry), "cleanupDue": NOW}
    if export.cancel_requested is not None:
        canceled = ExportStatus.CANCELED
        change |= {"status": canceled.value, DATE_FIELDS[canceled]: NOW}
        return Transition(condition, [{"$set": change}])
    change["attempts"] = _in_current_attempt(entry | _FOLLOWED)
    not_asked = {"cancelRequested": {"$exists": False}}
    return Transition(condition | not_asked, [{"$set": change}, *_next_attempt(export.attempt + 1)])


def note_drained(claim: Claim) -> Transition:
    """Note that no request of an attempt is under way any more, whatever has become of its export."""
    is_attempt = {"$eq": ["$$entry.attempt", claim.attempt]}
    is_run = {"$eq": ["$$entry.runId", _literal(claim.run_id)]}
    drained = {"$mergeObjects": ["$$entry", {"settled": True}]}
    changed = {"$cond": [{"$and": [is_attempt, is_run]}, drained, "$$entry"]}
    attempts = {"$map": {"input": "$attempts", "as": "entry", "in": changed}}
    condition = {"_id": ObjectId(claim.export_id), "attempts": {"$elemMatch": {"attempt": claim.attempt}}}
    return Transition(condition, [{"$set": {"attempts": attempts}}])


def note_file_problem(export_id: ObjectId, key: str, problem: FileProblem | None) -> Transition:
    """Note what is wrong with a file of a FINISHED export that records `key`, or that nothing is wrong any more."""
    files: list[Document] = [{"key": key}, {"keys": key}]
    condition: Document = {"_id": export_id, "status": ExportStatus.FINISHED.value, "$or": files}
    change: Document = {"$unset": ["fileProblem"]} if problem is None else {"$set": {"fileProblem": problem.value}}
    return Transition(condition, [change])


def fence(claim: Claim) -> Document:
    """Return the condition under which `claim` still owns its export (L6)."""
    return {
        "_id": ObjectId(claim.export_id),
        "status": ExportStatus.TRIGGERED.value,
        "attempt": claim.attempt,
        "runId": claim.run_id,
    }


def clean_error(error: Document) -> Document:
    """Keep code, message and payload, as text of bounded length; a stack trace or anything else stays outside."""
    return {
        name: None if error.get(name) is None else storable(str(error[name]))[:limit]
        for name, limit in _ERROR_LIMITS.items()
    }


def _claimed(claimant: Claimant) -> Document:
    run_id = _literal(claimant.run_id)
    status = ExportStatus.TRIGGERED.value
    queued = {"$ifNull": ["$queued", "$date.created"]}
    entry = {"attempt": "$attempt", "runId": run_id, "status": status, "queued": queued, "triggered": NOW}
    change: Document = {
        "status": status,
        "runId": run_id,
        "claimId": _literal(claimant.claim_id),
        DATE_FIELDS[ExportStatus.TRIGGERED]: NOW,
        "attempts": _with_entry(entry),
    }
    return {"$set": change | _progress(0, 0, 0) | _lease(claimant.lease_millis)}


def _lease(millis: int) -> Document:
    return {"leaseUntil": {"$add": [NOW, millis]}}


def _next_attempt(attempt: Any, forget: Sequence[str] = _OF_AUTO_RETRIES) -> list[Document]:
    """Return the stages that make a document PENDING again, in `attempt`, without what belongs to the one before."""
    # date.created keeps the export's place in the queue, so it does not tell how long this attempt has waited.
    pending: Document = {"status": ExportStatus.PENDING.value, "attempt": attempt, "queued": NOW}
    return [{"$set": pending}, {"$unset": [*_OF_ONE_ATTEMPT, *forget, *DATE_FIELDS.values()]}]


def _closed(status: ExportStatus, error: Document | None) -> Document:
    """End an attempt that did not finish; what it may have left on S3 is looked after (L10)."""
    change: Document = {"status": status.value, DATE_FIELDS[status]: NOW, "cleanupDue": NOW}
    return change if error is None else change | {"error": _literal(clean_error(error))}


def _ended(status: ExportStatus, error: Document | None) -> Document:
    """Return what the entry of an attempt says of its end, which is now."""
    entry: Document = {"status": status.value, "ended": NOW}
    return entry if error is None else entry | {"error": _literal(clean_error(error))}


def _progress(read: int, rows: int, size: int) -> Document:
    return {"progress.read": read, "progress.rows": rows, "progress.bytes": size, "progress.updated": NOW}


def _in_current_attempt(change: Document) -> Document:
    """Return the `attempts` with `change` merged into the entry of the document's current attempt."""
    is_current = {"$eq": ["$$entry.attempt", "$attempt"]}
    merged = {"$mergeObjects": ["$$entry", change]}
    return {"$map": {"input": "$attempts", "as": "entry", "in": {"$cond": [is_current, merged, "$$entry"]}}}


def _with_entry(entry: Document) -> Document:
    """Return the `attempts` with one more entry, without those that nobody needs any more.

    An earlier one is kept as long as an object may be under one of its keys: that of an attempt that finished, or was
    lost and is not cleaned up.
    """
    is_late = {"$gt": ["$$entry.attempt", {"$subtract": ["$attempt", KEPT_ATTEMPTS]}]}
    is_lost = {"$in": ["$$entry.status", sorted(RETRYABLE)]}
    has_keys = {"$gt": [{"$size": {"$ifNull": ["$$entry.keys", []]}}, 0]}
    is_cleaned = {"$and": [is_lost, {"$eq": ["$$entry.cleaned", True]}]}
    is_kept = {"$or": [is_late, {"$and": [has_keys, {"$not": [is_cleaned]}]}]}
    all_entries = {"$concatArrays": ["$attempts", [entry]]}
    return {"$filter": {"input": all_entries, "as": "entry", "cond": is_kept}}


def _literal(value: Any) -> Document:
    return {"$literal": value}
