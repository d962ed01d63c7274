"""Exports into a bucket that hangs wait, said so, while the others run: who notices it, and who finds that it answers.

What is known is in MongoDB (`vfexport_core.queue.breakers`); whoever runs, cleans up after or waits for exports keeps
it up to date.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vfexport_core.catalog import Bucket
from vfexport_core.errors import BucketHangs, QueueBusy, VfexportError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from vfexport_core.queue.breakers import BucketBreakers, OpenBreaker
    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.storage.buckets import BucketClients

_log = logging.getLogger(__name__)


def claimable(queue: ExportRepository, limit: int) -> list[Export]:
    """Return the first `limit` PENDING exports that may be claimed, oldest first: none while the queue is paused.

    And none whose bucket hangs. Raises SourceUnavailable.
    """
    exports = queue.pending(limit)
    if exports and queue.pause.read() is not None:
        return []
    waiting = queue.breakers.waiting_types() if exports else {}
    if any(export.export_type in waiting for export in exports):
        return queue.pending(limit, passing_over=waiting)
    return exports


def check_bucket(waiting: Mapping[str, OpenBreaker], export: Export) -> None:
    """Raise QueueBusy, naming the bucket, when an export is of one of these types, which wait."""
    breaker = waiting.get(export.export_type)
    if breaker is not None:
        raise QueueBusy(f"{breaker}: exports into it wait until it answers", payload=breaker.bucket)


@contextmanager
def noticing(breakers: BucketBreakers, bucket: str) -> Generator[None]:
    """Have the exports into `bucket` wait if the block gives it up."""
    try:
        yield
    except BucketHangs as error:
        _log.error("bucket %s hangs, exports into it wait until it answers: %s", bucket, error.message)
        try:
            breakers.trip(bucket)
        except VfexportError as failure:
            _log.warning("it was not recorded that bucket %s hangs: %s", bucket, failure.message)
        raise


def probe_due(breakers: BucketBreakers, buckets: Callable[[], BucketClients]) -> Iterable[str]:
    """Yield what became of the probes that are due: a small object is put into each of these buckets, and deleted.

    It takes a few seconds for each. Raises SourceUnavailable; the next caller goes on.
    """
    # Not more than there are, should one be due again at once.
    for _ in Bucket:
        bucket = breakers.take_probe(lambda name: name in buckets().configured)
        if bucket is None:
            return
        try:
            buckets().probe(bucket)
        except VfexportError as error:
            yield f"bucket {bucket} still hangs: {error.message}"
        else:
            breakers.half_open(bucket)
            _log.warning("bucket %s answers again: exports into it go on", bucket)
            yield f"bucket {bucket} answers again"
