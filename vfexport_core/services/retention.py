"""Taking away what is older than the retention period: first the files of an export, then its document.

Each step may be repeated, and what fails keeps its document for the next time. What has changed since it was looked at
(somebody runs it again) stays. The record of deletions and the audit log have times of their own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from vfexport_core.catalog import find_spec
from vfexport_core.ccpa.file_index import FileIndex, file_of
from vfexport_core.errors import ConfigurationError, DeliveryFailed, VfexportError
from vfexport_core.mongo.retry import WORKER_LIMITS
from vfexport_core.queue.audit import AuditAction
from vfexport_core.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vfexport_core.queue.audit import Actor
    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.services.bootstrap import Backend

T = TypeVar("T")

_AT_ONCE = 100
_LISTED = 50
SETTING = f"{PREFIX}RETENTION_DAYS"


@dataclass(frozen=True, slots=True)
class Expired:
    """An export whose time is over, its files, and, where it could not be taken away, why."""

    export: Export
    files: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """The exports that ended more than `days` ago, by MongoDB's clock; see the module."""

    backend: Backend
    days: int

    @classmethod
    def from_settings(cls, backend: Backend) -> Retention:
        """Return it as it is set; raises ConfigurationError where it is switched off."""
        days = backend.settings.retention_days
        if days is None:
            raise ConfigurationError(f"{SETTING} is not set: nothing is ever taken away by its age", payload=SETTING)
        return cls(backend, days)

    def plan(self) -> Iterator[Expired]:
        """Yield what would be taken away, oldest first; raises SourceUnavailable."""
        for export in self._due():
            yield Expired(export, len(_files(export)))

    def apply(self, by: Actor) -> Iterator[Expired]:
        """Take it away, and yield what came of each, oldest first; raises SourceUnavailable.

        A bucket that does not answer is not asked again; what is wrong with one export alone keeps only that one.
        """
        failing: set[str] = set()
        for export in self._due():
            files = _files(export)
            silent = failing.intersection(bucket for bucket, _ in files)
            if silent:
                yield Expired(export, len(files), f"bucket {min(silent)} failed before")
                continue
            try:
                with self.backend.audit.noted(by, AuditAction.EXPIRE, export.id, export):
                    self._take_files(export, failing)
            except VfexportError as error:
                yield Expired(export, len(files), f"{error.code}: {error.message}")
                continue
            is_gone = self.backend.queue.removal.remove(export)
            yield Expired(export, len(files), None if is_gone else "it has been run again meanwhile")

    def _due(self) -> Iterator[Export]:
        after: tuple[datetime, str] | None = None
        while page := self.backend.queue.removal.ended_before(timedelta(days=self.days), after, _AT_ONCE):
            yield from page
            after = page[-1].position

    def _take_files(self, export: Export, failing: set[str]) -> None:
        """Leave nothing of an export's files, in any version, nor of the index of the people in them.

        Adds to `failing` the recorded name of a bucket that does not answer.
        """
        files = _files(export)
        for (name, attempt), keys in files.items():
            store = self.backend.buckets.store_named(name, likely=find_spec(export.export_type).bucket)
            try:
                store.discard_attempt(export.id, attempt, keys)
            except DeliveryFailed:  # it passes; what S3 refuses, or nobody has configured, is of this export alone
                failing.add(name)
                raise
        FileIndex(self.backend.database, WORKER_LIMITS).forget([file_of(export.id, attempt) for _, attempt in files])


def _files(export: Export) -> dict[tuple[str, int], tuple[str, ...]]:
    """Return the keys under which files may be, by the bucket's name and the attempt."""
    found = {(one.bucket or "", one.attempt): one.keys for one in export.attempts if one.keys and not one.cleaned}
    if export.keys:
        found[export.bucket or "", export.attempt] = export.keys
    return found


class RunHistory(Protocol):
    """The runs that an orchestrator remembers."""

    def ended_before(self, moment: datetime) -> Iterable[str]:
        """Return the ids of the runs that have ended and were created before this moment."""
        ...

    def forget(self, run_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class WorkTime:
    """How long one run works: about `seconds`, and `seconds_if_awaited` where an export waits for its place alone."""

    seconds: float
    seconds_if_awaited: float

    def until_over(self, queue: ExportRepository) -> Callable[[], bool]:
        """Return what tells whether it is over, of a run that begins now."""
        began = time.monotonic()

        def is_over() -> bool:
            worked = time.monotonic() - began
            return worked >= self.seconds or (worked >= self.seconds_if_awaited and _is_awaited(queue))

        return is_over


def _is_awaited(queue: ExportRepository) -> bool:
    """Return whether an export could begin: not in a paused queue, nor while its bucket hangs."""
    return queue.pause.read() is None and bool(queue.pending(1, passing_over=queue.breakers.waiting_types()))


WORK_TIME = WorkTime(seconds=300.0, seconds_if_awaited=60.0)
"""An export that waits for a run to end waits less than VfexportQueueStuck takes for standing still."""


def enforce_retention(
    backend: Backend, runs: RunHistory, by: Actor, report: Callable[[str], object], *, applies: bool
) -> list[Expired]:
    """List, or take away, what is past its time: exports, then runs as old as that, for as long as it may work.

    Returns the exports that could not be taken away; `report` is told of all. Raises SourceUnavailable, and
    ConfigurationError where it is switched off.
    """
    retention, is_over = Retention.from_settings(backend), WORK_TIME.until_over(backend.queue)
    done = "taken away" if applies else "would be taken away"
    seen = [*_until(is_over, retention.apply(by) if applies else retention.plan())]
    for one in seen[:_LISTED]:
        report(f"export {one.export.id} ({one.export.export_type}): {one.problem or done}")
    found = [*runs.ended_before(datetime.now(UTC) - timedelta(days=retention.days))]
    count = sum(1 for _ in _until(is_over, map(runs.forget, found))) if applies else len(found)
    if is_over():
        report("the time of one run is over, or an export waits: what is left comes next time")
    left = [one for one in seen if one.problem is not None]
    report(f"{len(seen) - len(left)} exports and {count} runs that ended more than {retention.days} days ago {done}")
    return left


def _until(is_over: Callable[[], bool], found: Iterable[T]) -> Iterator[T]:
    """Yield what was found, one at least, until the time is over."""
    for one in found:
        yield one
        if is_over():
            return
