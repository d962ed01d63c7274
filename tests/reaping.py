"""One look over the queue, as the reaper takes it, without an orchestrator whose runs would be looked at between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.queue.reaper import CLEANUP_GRACE_SECONDS
from vfexport_core.services.reap import CleanedUp, clean_up_lost

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.storage.buckets import BucketClients


@dataclass(frozen=True, slots=True)
class Reaped(CleanedUp):
    """What a look came to: also the export that was ended."""

    ended: Export | None


def reap(
    queue: ExportRepository,
    buckets: Callable[[], BucketClients],
    timeout_millis: int,
    *,
    grace_seconds: float = CLEANUP_GRACE_SECONDS,
) -> Reaped:
    """Look once. `buckets` is called only if something has to be cleaned up. Raises SourceUnavailable."""
    ended = queue.reaper.reap(timeout_millis)
    done = clean_up_lost(queue, buckets, grace_seconds=grace_seconds)
    return Reaped(done.cleaned, done.problems, ended)
