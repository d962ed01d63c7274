"""One sweep over campaigns' exports for a deletion: files are deleted first, then the documents they belong to.

What an export has to do with a deletion is decided by when its attempts were claimed. One that was claimed after the
deletion's record was there (`Deletion.effective`) has seen it and holds no row of the user: it is left alone. The two
moments may be by clocks of two machines, so one that was claimed up to `CLOCK_SKEW_SECONDS` later counts as older, too.
Of the older ones

- a TRIGGERED one is taken from its worker and queued again,
- a PENDING one stays, but what earlier attempts of it delivered is deleted,
- one that has ended is deleted: its files, what lost attempts may have left, then its document.

An attempt that was lost may have a request under way that makes its file appear after it was deleted. So nothing is
taken for done before its worker has said that there is none (`Attempt.drained`), or could not have any more.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from vfexport_core.catalog import all_specs, find_spec
from vfexport_core.ccpa.file_index import file_of
from vfexport_core.ccpa.records import ObjectName, Problem
from vfexport_core.errors import ConfigurationError, DeliveryFailed, DeliveryRefused, ExportCanceled
from vfexport_core.mongo.own_collections import CLOCK_SKEW_SECONDS
from vfexport_core.queue.models import FINAL, Attempt, ExportStatus
from vfexport_core.queue.reaper import CLEANUP_GRACE_SECONDS
from vfexport_core.telemetry.threads import at_once

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from vfexport_core.ccpa.file_index import FileIndex
    from vfexport_core.ccpa.records import Deletion
    from vfexport_core.ccpa.repository import DeletionRepository
    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.storage.buckets import BucketClients
    from vfexport_core.storage.object_store import ObjectStore

CAMPAIGNS_AT_ONCE = 50
_AT_ONCE = 100
_S3_ERRORS = (DeliveryFailed, DeliveryRefused, ConfigurationError)
_Mark = tuple[str, int, bool]


@dataclass(slots=True)
class SweepResult:
    """What one sweep over campaigns came to; a campaign of neither kind is done."""

    changing: set[str] = field(default_factory=set[str])
    """Campaigns in which something changed meanwhile."""
    undrained: list[Export] = field(default_factory=list["Export"])
    """Exports of which a lost attempt may still deliver something."""


@dataclass(slots=True)
class _Work:
    """One export, and those of its attempts that may have left something."""

    export: Export
    attempts: list[Attempt]
    is_undrained: bool
    failed: bool = False

    @property
    def mark(self) -> _Mark:
        """What need not be looked for again in S3 once it is deleted; a late file may come until all is drained."""
        return self.export.id, self.export.attempt, self.is_undrained


class Sweeper:
    """Deletes for one attempt at one deletion; `problems` is what went wrong so far.

    `stop` ends the sending of requests to S3.
    """

    def __init__(
        self,
        record: Deletion,
        *,
        deletions: DeletionRepository,
        queue: ExportRepository,
        buckets: BucketClients,
        file_index: FileIndex,
        stop: threading.Event,
        grace_seconds: float = CLEANUP_GRACE_SECONDS,
        skew_seconds: float = CLOCK_SKEW_SECONDS,
    ) -> None:
        assert record.effective is not None
        self.record = record
        self.problems: list[Problem] = []
        self._older_until = record.effective + timedelta(seconds=skew_seconds)
        self._deletions = deletions
        self._queue = queue
        self._buckets = buckets
        self._file_index = file_index
        self._stop = stop
        self._grace = timedelta(seconds=grace_seconds)
        self._types = [spec.type for spec in all_specs() if spec.ccpa_deletes]
        self._failing: set[str] = set()
        self._done: set[_Mark] = set()

    def sweep(self, campaign_ids: Sequence[str]) -> Iterator[SweepResult]:
        """Delete what can be deleted of `CAMPAIGNS_AT_ONCE`, by the page; yields what came of each.

        Raises SourceUnavailable.
        """
        after: tuple[datetime, str] | None = None
        while page := self._queue.removal.of_campaigns(campaign_ids, self._types, after, _AT_ONCE):
            yield self._sweep([export for export, _ in page], page[0][1])
            if len(page) < _AT_ONCE:
                return
            after = page[-1][0].position

    def _sweep(self, exports: list[Export], now: datetime) -> SweepResult:
        result = SweepResult()
        work: list[_Work] = []
        for export in exports:
            if self._is_running_with_the_user(export):
                result.changing.add(export.campaign_id)
                self._take_back(export)
                continue
            attempts = [attempt for attempt in _attempts(export) if self._may_have_left_something(attempt)]
            item = _Work(export, attempts, any(self._is_undrained(attempt, now) for attempt in attempts))
            work.append(item)
            if item.is_undrained:
                result.undrained.append(export)
        new = [item for item in work if item.mark not in self._done]
        self._erase_files(new)
        self._file_index.forget(
            file_of(item.export.id, attempt.attempt)
            for item in new
            if not (item.failed or item.is_undrained)
            for attempt in item.attempts
        )
        stayed = self._remove([item.export for item in work if self._is_over(item)])
        result.changing |= {export.campaign_id for export in stayed}
        self._done |= {item.mark for item in work if not item.failed}
        return result

    def _is_older(self, moment: datetime | None) -> bool:
        return moment is None or moment <= self._older_until

    def _is_running_with_the_user(self, export: Export) -> bool:
        return export.status is ExportStatus.TRIGGERED and self._is_older(export.date.triggered)

    def _is_over(self, item: _Work) -> bool:
        """Whether an export's document can go: it has ended, its last attempt is old, and no file of it is left."""
        export = item.export
        is_old = self._is_older(export.date.triggered or export.date.created)
        return export.status in FINAL and is_old and not item.failed and not item.is_undrained

    def _may_have_left_something(self, attempt: Attempt) -> bool:
        has_ended = attempt.ended is not None and not attempt.cleaned
        return bool(attempt.keys) and has_ended and self._is_older(attempt.triggered)

    def _is_undrained(self, attempt: Attempt, now: datetime) -> bool:
        if not attempt.is_lost or attempt.drained or attempt.ended is None:
            return False
        return now - attempt.ended < self._grace

    def _take_back(self, export: Export) -> None:
        error = ExportCanceled("taken back and queued again, because a user's data is being deleted", payload=export.id)
        self._queue.removal.requeue(export, error.as_dict())

    def _erase_files(self, work: list[_Work]) -> None:
        """Delete the files of all these attempts, bucket by bucket; what fails is marked, and told in `problems`."""
        by_bucket: dict[tuple[str, str], list[tuple[_Work, Attempt]]] = defaultdict(list)
        for item in work:
            for attempt in item.attempts:
                likely = find_spec(item.export.export_type).bucket
                by_bucket[attempt.bucket or "", likely].append((item, attempt))
        for (name, likely), owners in by_bucket.items():
            if name in self._failing:
                _fail(item for item, _ in owners)
                continue
            try:
                store = self._buckets.store_named(name, likely=likely)
                self._erase_in(store, owners)
            except _S3_ERRORS as error:  # one bucket must not keep the others back
                self.problems.append(Problem.of(error, bucket=name))
                self._failing.add(name)
                _fail(item for item, _ in owners)

    def _erase_in(self, store: ObjectStore, owners: list[tuple[_Work, Attempt]]) -> None:
        found = store.list((key for _, attempt in owners for key in attempt.keys), self._stop)
        if found:
            names = [ObjectName(store.name, key) for key in found]
            self.record = self._deletions.note(self.record, names, [])
            left = store.delete([version for versions in found.values() for version in versions], self._stop)
            self.problems += [Problem.of(error, bucket=store.name, key=key) for key, error in left.items()]
            _fail(item for item, attempt in owners if not left.keys().isdisjoint(attempt.keys))
        for item, attempt in owners:
            if attempt.is_lost:
                store.abort_uploads(attempt.keys, self._stop)
                store.discard_attempt(item.export.id, attempt.attempt, (), self._stop)

    def _remove(self, exports: list[Export]) -> list[Export]:
        """Delete the documents of exports without files; gives those that have changed and stay."""
        if not exports:
            return []
        new = {export.id for export in exports} - self.record.noted_exports
        self.record = self._deletions.note(self.record, [], new)
        removed = at_once(self._queue.removal.remove, exports)
        stayed = [export for export, is_gone in zip(exports, removed, strict=True) if not is_gone]
        for export in stayed:
            # Noted by an earlier try: that one deleted it, and ended before it knew.
            if export.id in new:
                self.record = self._deletions.forget_export(self.record, export.id)
        return stayed


def _attempts(export: Export) -> list[Attempt]:
    """Return the attempts, that of a FINISHED export with what its document says was delivered."""
    if export.status is not ExportStatus.FINISHED or not export.keys:
        return list(export.attempts)
    before = [attempt for attempt in export.attempts if attempt.attempt != export.attempt]
    delivered = Attempt(
        attempt=export.attempt,
        status=export.status,
        triggered=export.date.triggered,
        ended=export.date.finished,
        bucket=export.bucket,
        keys=export.keys,
    )
    return [*before, delivered]


def _fail(items: Iterable[_Work]) -> None:
    for item in items:
        item.failed = True
