"""One look over the queue by a reaper: end what is late or lost, take away what lost attempts left on S3 (L4, L10).

Every step is harmless to repeat and beside other reapers; what fails is tried again at the next look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.catalog import find_spec
from vfexport_core.errors import BucketHangs, VfexportError
from vfexport_core.mongo.retry import WORKER_LIMITS
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.reaper import CLEANUP_GRACE_SECONDS
from vfexport_core.services.hanging_buckets import noticing, probe_due
from vfexport_core.telemetry.export_log import log_export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pymongo.database import Database

    from vfexport_core.queue.models import Attempt, Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.services.reconcile_runs import Reconciler
    from vfexport_core.storage.buckets import BucketClients


@dataclass(frozen=True, slots=True)
class CleanedUp:
    """The exports after which was cleaned up; what could not be done, and why."""

    cleaned: tuple[str, ...]
    problems: tuple[str, ...]


def reconcile(reconciler: Reconciler) -> Iterator[str]:
    """Look once, at the queue and at the runs of an orchestrator, and yield what was done. Raises SourceUnavailable."""
    queue, backend = reconciler.queue, reconciler.backend
    ended = queue.reaper.reap(backend.settings.timeout_millis)
    if ended is not None:
        log_export("export ended by the reaper", ended.correlation_id, ended.id, exportStatus=ended.status.value)
        follows = f", attempt {ended.attempt} follows" if ended.status is ExportStatus.PENDING else ""
        yield f"{ended.id} {ended.attempts[-1].status}{follows}"
    yield from reconciler.look()
    # Last, since a bucket may hang: the queue moves on before.
    for problem in clean_up_lost(queue, lambda: backend.buckets).problems:
        yield f"not cleaned up yet: {problem}"
    yield from probe_due(queue.breakers, lambda: backend.buckets)


def clean_up_lost(
    queue: ExportRepository, buckets: Callable[[], BucketClients], *, grace_seconds: float = CLEANUP_GRACE_SECONDS
) -> CleanedUp:
    """Take away what lost attempts left, as far as it is due.

    A bucket that hangs is asked for a few seconds, and not again before a probe has found that it answers.
    """
    cleaned: list[str] = []
    problems: list[str] = []
    hanging = set(queue.breakers.all_open())
    for cleanup in queue.reaper.pending_cleanups():
        export = cleanup.export
        bucket = find_spec(export.export_type).bucket
        if bucket in hanging:
            continue
        try:
            with noticing(queue.breakers, bucket):
                for attempt in export.attempts:
                    if attempt.is_lost and attempt.keys and not attempt.cleaned:
                        clean_up(export, attempt, buckets(), queue.database)
        except VfexportError as error:  # S3 fails, or refuses: one bucket must not keep the others back
            if isinstance(error, BucketHangs):
                hanging.add(bucket)
            problems.append(f"{export.id} {error.code}: {error.message}")
            continue
        queue.reaper.note_cleaned(cleanup, grace_seconds)
        cleaned.append(export.id)
    return CleanedUp(tuple(cleaned), tuple(problems))


def clean_up(export: Export, attempt: Attempt, buckets: BucketClients, database: Database[dict[str, Any]]) -> None:
    """Leave nothing of a lost attempt on S3, nor of the index of its file.

    Raises DeliveryFailed, DeliveryRefused, ConfigurationError, SourceUnavailable.
    """
    from vfexport_core.ccpa.file_index import FileIndex, file_of  # noqa: PLC0415 seldom needed, slow to load

    store = buckets.store_named(attempt.bucket or "", likely=find_spec(export.export_type).bucket)
    store.discard_attempt(export.id, attempt.attempt, attempt.keys)
    # Behind the file: one that could not be deleted is still found for the people in it.
    FileIndex(database, WORKER_LIMITS).forget([file_of(export.id, attempt.attempt)])
