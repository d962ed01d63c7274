"""The lifecycle of exports as a model, and every operation on it twice: on the model and on the real queue.

Each operation gives its outcome as a word (a status, or an error's code), so that the two can be compared. Exports are
known by a name ("entries:2" is the second of its kind), which model and queue share; `World` knows their ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.integration.queue_helpers import ERROR, SHA, new_export
from tests.reaping import reap
from vfexport_core.catalog import Bucket
from vfexport_core.errors import VfexportError
from vfexport_core.queue.models import ACTIVE, FINAL, RETRYABLE, Claim, Delivered, ExportStatus
from vfexport_core.queue.reaper import CLEANUP_GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.storage.buckets import BucketClients
    from vfexport_core.storage.s3.bucket import S3Bucket

PENDING, TRIGGERED, FINISHED, FAILED, EXPIRED, CANCELED = ExportStatus
LOST, BUSY, NOT_CLAIMABLE = "LeaseLost", "QueueBusy", "ExportNotClaimable"
NOT_CANCELABLE, NOT_RETRYABLE = "ExportNotCancelable", "ExportNotRetryable"
TIMEOUT_MILLIS = 3_600_000


class Held(NamedTuple):
    """A run's claim, as long as somebody has it in memory: it may be lost and come back at any time."""

    name: str
    attempt: int
    run: str

    @property
    def key(self) -> str:
        return f"{self.name.replace(':', '-')}/{self.attempt}"


@dataclass(frozen=True)
class Entry:
    """One of `attempts`."""

    attempt: int
    run: str | None
    status: ExportStatus
    keys: tuple[str, ...] = ()
    cleaned: bool = False

    @property
    def is_lost(self) -> bool:
        return self.status in RETRYABLE


@dataclass(frozen=True)
class Known:
    """One export."""

    status: ExportStatus = PENDING
    attempt: int = 1
    run: str | None = None
    entries: tuple[Entry, ...] = ()
    cancel_asked: bool = False
    count: int | None = None
    pending_cleanup: bool = False
    lease_out: bool = False
    overdue: bool = False

    @classmethod
    def of(cls, export: Export, document: dict[str, Any]) -> Known:
        """Read a real one; what only time decides is not to be seen in it."""
        entries = [
            Entry(attempt.attempt, attempt.run_id, attempt.status, attempt.keys, attempt.cleaned)
            for attempt in export.attempts
        ]
        return cls(
            export.status,
            export.attempt,
            export.run_id,
            tuple(entries),
            export.cancel_requested is not None,
            export.count,
            "cleanupDue" in document,
        )

    def changed(self, **fields: Any) -> Known:
        return replace(self, **fields)

    def entered(self, **fields: Any) -> tuple[Entry, ...]:
        """Return the entries with the current attempt's changed."""
        return tuple(replace(one, **fields) if one.attempt == self.attempt else one for one in self.entries)

    def ended(self, status: ExportStatus) -> Known:
        return self.changed(status=status, entries=self.entered(status=status), pending_cleanup=True)


@dataclass
class Model:
    """What the queue should hold; `stored` are the keys in the bucket, `flying` those that may still arrive there."""

    exports: dict[str, Known] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    flying: set[str] = field(default_factory=set)

    def copy(self) -> Model:
        return Model(dict(self.exports), set(self.stored), set(self.flying))

    def change(self, name: str, **fields: Any) -> None:
        self.exports[name] = self.exports[name].changed(**fields)

    def active(self, kind: str) -> str | None:
        return next((name for name, one in self.exports.items() if is_of(name, kind) and one.status in ACTIVE), None)

    def running(self) -> str | None:
        return next((name for name, one in self.exports.items() if one.status is TRIGGERED), None)

    def owns(self, held: Held, status: ExportStatus = TRIGGERED) -> bool:
        one = self.exports[held.name]
        return (one.status, one.attempt, one.run) == (status, held.attempt, held.run)

    def next_name(self, kind: str) -> str:
        return f"{kind}:{sum(is_of(name, kind) for name in self.exports) + 1}"


@dataclass
class World:
    """The real queue and the real bucket."""

    store: ExportRepository
    buckets: BucketClients
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> S3Bucket:
        return self.buckets.bucket(Bucket.EXPORTS)

    def claim(self, held: Held) -> Claim:
        return Claim(self.ids[held.name], held.attempt, held.run)


def is_of(name: str, kind: str) -> bool:
    return name.rpartition(":")[0] == kind


def told(operation: Callable[[], Any]) -> str:
    """Do it, and give its outcome as a word."""
    try:
        answer = operation()
    except VfexportError as error:
        return error.code
    return str(getattr(answer, "status", answer))


@dataclass(frozen=True)
class Operation:
    """`on_model` changes the model and says what must come of it, `on_world` does it and says what came."""

    def on_model(self, model: Model) -> str:
        raise NotImplementedError

    def on_world(self, world: World) -> str:
        raise NotImplementedError

    def also(self, outcome: str, before: Model, after: Model) -> set[str]:  # noqa: ARG002
        """Return the outcomes that are right too when others act at the same time: `before` and `after` they did."""
        return {outcome}


KINDS = {"entries": ("entries", None), "wave1": ("codeWaves", "1"), "wave2": ("codeWaves", "2")}
CAMPAIGN = "5f" * 12


@dataclass(frozen=True)
class Request(Operation):
    kind: str

    def on_model(self, model: Model) -> str:
        if (name := model.active(self.kind)) is None:
            name = model.next_name(self.kind)
            model.exports[name] = Known()
            return f"new {name}"
        return name

    def on_world(self, world: World) -> str:
        export_type, date_key = KINDS[self.kind]
        new = new_export(campaign_id=CAMPAIGN, export_type=export_type, date_key=date_key)
        export, created = world.store.request(new)
        if created:
            return f"new {export.id}"
        return export.id


@dataclass(frozen=True)
class TakeUp(Operation):
    """A run claims an export; with `attempt`, only that one."""

    name: str
    run: str
    attempt: int | None

    def on_model(self, model: Model) -> str:
        one = model.exports[self.name]
        fits = self.attempt in {None, one.attempt}
        if one.status is not PENDING or not fits:
            held = (one.status, one.run) == (TRIGGERED, self.run)
            return f"attempt {one.attempt}" if held and fits else NOT_CLAIMABLE
        if model.running() is not None:
            return BUSY
        return _take(model, self.name, self.run)

    def on_world(self, world: World) -> str:
        return told(lambda: f"attempt {world.store.claim(world.ids[self.name], self.run, self.attempt)[0].attempt}")


@dataclass(frozen=True)
class TakeUpAgain(Operation):
    name: str
    run: str
    attempt: int

    def on_model(self, model: Model) -> str:
        one = model.exports[self.name]
        if one.status not in FINAL or one.attempt != self.attempt:
            held = (one.status, one.run, one.attempt) == (TRIGGERED, self.run, self.attempt + 1)
            return f"attempt {one.attempt}" if held else NOT_CLAIMABLE
        if model.active(self.name.rpartition(":")[0]) is not None:
            return NOT_CLAIMABLE
        if model.running() is not None:
            return BUSY
        _next_attempt(model, self.name)
        return _take(model, self.name, self.run)

    def on_world(self, world: World) -> str:
        claimed = lambda: world.store.claim_again(world.ids[self.name], self.run, self.attempt)[0]  # noqa: E731
        return told(lambda: f"attempt {claimed().attempt}")

    def also(self, outcome: str, before: Model, after: Model) -> set[str]:  # noqa: ARG002
        """Why it was refused is looked up a moment later."""
        return {BUSY, NOT_CLAIMABLE} if outcome in {BUSY, NOT_CLAIMABLE} else {outcome}


@dataclass(frozen=True)
class Beat(Operation):
    """A sign of life, with the figures that come with it."""

    held: Held
    kind: str

    def on_model(self, model: Model) -> str:
        if not model.owns(self.held):
            return LOST
        if self.kind == "count":
            model.change(self.held.name, count=5)
            return "None"
        model.change(self.held.name, lease_out=False)
        return "TRIGGERED"

    def on_world(self, world: World) -> str:
        claim = world.claim(self.held)
        beats = {
            "confirm": lambda: world.store.claimed(claim).check_fence(),
            "progress": lambda: world.store.claimed(claim).progress(3, 2, 1),
            "count": lambda: world.store.claimed(claim).set_count(5),
        }
        return told(beats[self.kind])


@dataclass(frozen=True)
class Send(Operation):
    """The worker notes its key and, with its claim just confirmed, sends its file; when that arrives is not said."""

    held: Held

    def on_model(self, model: Model) -> str:
        if not model.owns(self.held):
            return LOST
        one = model.exports[self.held.name]
        model.change(self.held.name, entries=one.entered(keys=(self.held.key,)), lease_out=False)
        model.flying.add(self.held.key)
        return "TRIGGERED"

    def on_world(self, world: World) -> str:
        claim = world.claim(self.held)
        noted = told(lambda: world.store.claimed(claim).note_keys(world.target.name, [self.held.key]))
        return noted if noted == LOST else told(lambda: world.store.claimed(claim).check_fence())


@dataclass(frozen=True)
class End(Operation):
    """The worker ends its export."""

    held: Held
    status: ExportStatus

    def on_model(self, model: Model) -> str:
        if not model.owns(self.held):
            return self.status if model.owns(self.held, self.status) else LOST
        one = model.exports[self.held.name]
        if self.status is FINISHED:
            model.change(self.held.name, status=FINISHED, count=7, entries=one.entered(status=FINISHED))
        else:
            model.exports[self.held.name] = one.ended(self.status)
        return self.status

    def on_world(self, world: World) -> str:
        claim = world.claim(self.held)
        delivered = Delivered(bucket=world.target.name, keys=(self.held.key,), rows=7, bytes=1, sha256=(SHA,))
        ends = {
            FINISHED: lambda: world.store.claimed(claim).finish(delivered),
            FAILED: lambda: world.store.claimed(claim).fail(ERROR),
            EXPIRED: lambda: world.store.claimed(claim).expire(),
            CANCELED: lambda: world.store.claimed(claim).cancel(),
        }
        return told(ends[self.status])


@dataclass(frozen=True)
class CloseRun(Operation):
    """Somebody saw a run end; with `attempt` also what it was started for."""

    name: str
    run: str
    status: ExportStatus
    attempt: int | None

    def on_model(self, model: Model) -> str:
        one = model.exports[self.name]
        if (one.status, one.run) == (TRIGGERED, self.run):
            model.exports[self.name] = one.ended(self.status)
            return "True"
        if (one.status, one.attempt) == (PENDING, self.attempt):
            entry = Entry(one.attempt, self.run, self.status)
            model.change(self.name, status=self.status, pending_cleanup=True, entries=(*one.entries, entry))
            return "True"
        return "False"

    def on_world(self, world: World) -> str:
        return told(lambda: world.store.close_run(world.ids[self.name], self.run, self.status, ERROR, self.attempt))


@dataclass(frozen=True)
class AskToCancel(Operation):
    name: str

    def on_model(self, model: Model) -> str:
        one = model.exports[self.name]
        if one.status is PENDING:
            entry = Entry(one.attempt, None, CANCELED)
            model.change(self.name, status=CANCELED, entries=(*one.entries, entry))
            return CANCELED
        if one.status is TRIGGERED:
            model.change(self.name, cancel_asked=True)
            return TRIGGERED
        return NOT_CANCELABLE

    def on_world(self, world: World) -> str:
        return told(lambda: world.store.request_cancel(world.ids[self.name]))

    def also(self, outcome: str, before: Model, after: Model) -> set[str]:
        """Of two who cancel at the same time, both did."""
        both = before.exports[self.name].status in ACTIVE and after.exports[self.name].status is CANCELED
        return {outcome, CANCELED} if both else {outcome}


@dataclass(frozen=True)
class Retry(Operation):
    name: str
    redeliver: bool

    def on_model(self, model: Model) -> str:
        one = model.exports[self.name]
        if one.status not in RETRYABLE | ({FINISHED} if self.redeliver else set()):
            return NOT_RETRYABLE
        if model.active(self.name.rpartition(":")[0]) is not None:
            return NOT_RETRYABLE
        _next_attempt(model, self.name)
        return PENDING

    def on_world(self, world: World) -> str:
        return told(lambda: world.store.retry(world.ids[self.name], redeliver=self.redeliver))

    def also(self, outcome: str, before: Model, after: Model) -> set[str]:
        """Of two who retry at the same time, both get the one attempt, as it is by then."""
        if after.exports[self.name].attempt > before.exports[self.name].attempt:
            return {outcome, *(status.value for status in ExportStatus)}
        return {outcome}


@dataclass(frozen=True)
class Reap(Operation):
    """A reaper looks at the running export."""

    def on_model(self, model: Model) -> str:
        name = model.running()
        if name is None:
            return "None"
        one = model.exports[name]
        if not (one.overdue or one.lease_out):
            return "None"
        status = EXPIRED if one.overdue else CANCELED if one.cancel_asked else FAILED
        model.exports[name] = one.ended(status)
        return status

    def on_world(self, world: World) -> str:
        return told(lambda: world.store.reaper.reap(TIMEOUT_MILLIS))


@dataclass(frozen=True)
class Look(Operation):
    """A reaper's whole look, with all cleaning due by now; `is_late`: so late that nothing arrives any more."""

    is_late: bool

    def on_model(self, model: Model) -> str:
        ended = Reap().on_model(model)
        for name, one in model.exports.items():
            if not one.pending_cleanup:
                continue
            lost = {key for entry in one.entries if entry.is_lost for key in entry.keys if not entry.cleaned}
            model.stored -= lost
            if self.is_late:
                model.flying -= lost
                cleaned = tuple(replace(entry, cleaned=entry.cleaned or entry.is_lost) for entry in one.entries)
                model.change(name, entries=cleaned, pending_cleanup=False)
        return ended

    def on_world(self, world: World) -> str:
        seconds = 0 if self.is_late else 10 * CLEANUP_GRACE_SECONDS
        seen = reap(world.store, lambda: world.buckets, TIMEOUT_MILLIS, grace_seconds=seconds)
        assert seen.problems == ()
        return told(lambda: seen.ended)


def _take(model: Model, name: str, run: str) -> str:
    one = model.exports[name]
    entry = Entry(one.attempt, run, TRIGGERED)
    model.change(name, status=TRIGGERED, run=run, entries=(*one.entries, entry), lease_out=False, overdue=False)
    return f"attempt {one.attempt}"


def _next_attempt(model: Model, name: str) -> None:
    one = model.exports[name]
    model.exports[name] = Known(attempt=one.attempt + 1, entries=one.entries, pending_cleanup=one.pending_cleanup)
