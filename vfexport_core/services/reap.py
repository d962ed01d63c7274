"""One look over the queue by a reaper: end what is late or lost, take away what lost attempts left on S3 (L4, L10).

Every step is harmless to repeat and beside other reapers; what fails is tried again at the next look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.catalog import find_spec
from vfexport_core.errors import VfexportError
from vfexport_core.mongo.retry import WORKER_LIMITS
from vfexport_core.queue.reaper import CLEANUP_GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pymongo.database import Database

    from vfexport_core.queue.models import Attempt, Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.storage.buckets import BucketClients


@dataclass(frozen=True, slots=True)
class Reaped:
    """What a look came to: the export that was ended, those that were cleaned up, what could not be done and why."""

    ended: Export | None
    cleaned: tuple[str, ...]
    problems: tuple[str, ...]


def reap(
    store: ExportRepository,
    buckets: Callable[[], BucketClients],
    timeout_millis: int,
    *,
    grace_seconds: float = CLEANUP_GRACE_SECONDS,
) -> Reaped:
    """Look once. `buckets` is called only if something has to be cleaned up. Raises SourceUnavailable."""
    ended = store.reaper.reap(timeout_millis)
    cleaned: list[str] = []
    problems: list[str] = []
    for cleanup in store.reaper.pending_cleanups():
        export = cleanup.export
        try:
            for attempt in export.attempts:
                if attempt.is_lost and attempt.keys and not attempt.cleaned:
                    clean_up(export, attempt, buckets(), store.database)
        except VfexportError as error:  # S3 fails, or refuses: one bucket must not keep the others back
            problems.append(f"{export.id} {error.code}: {error.message}")
            continue
        store.reaper.note_cleaned(cleanup, grace_seconds)
        cleaned.append(export.id)
    return Reaped(ended, tuple(cleaned), tuple(problems))


def clean_up(export: Export, attempt: Attempt, buckets: BucketClients, database: Database[dict[str, Any]]) -> None:
    """Leave nothing of a lost attempt on S3, nor of the index of its file.

    Raises DeliveryFailed, DeliveryRefused, ConfigurationError, SourceUnavailable.
    """
    from vfexport_core.ccpa.file_index import FileIndex, file_of  # noqa: PLC0415 seldom needed, slow to load

    FileIndex(database, WORKER_LIMITS).forget([file_of(export.id, attempt.attempt)])
    store = buckets.store_named(attempt.bucket or "", likely=find_spec(export.export_type).bucket)
    store.discard_attempt(export.id, attempt.attempt, attempt.keys)
