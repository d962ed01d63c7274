"""Backing up what the service keeps of itself, and bringing it back; the files in the buckets are their owner's."""

from __future__ import annotations

import logging
import shutil
from contextlib import contextmanager
from datetime import timedelta
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from vfexport_core.errors import RestoreRefused
from vfexport_core.mongo.dump import check_backup, insert_backup, write_backup
from vfexport_core.queue.audit import AuditAction
from vfexport_core.queue.restored import RestoredExports
from vfexport_core.services.initialise import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Generator

    from vfexport_core.queue.audit import Actor
    from vfexport_core.services.bootstrap import Backend

_REASON = "restored from a backup: compare it with the buckets (`vfexport reconcile`), then resume"

ENDED = "exportsEnded"

_log = logging.getLogger(__name__)


def back_up(backend: Backend, out: IO[bytes]) -> dict[str, int]:
    """Write a backup, and return how many documents there are of each collection.

    It may be taken while exports go on. Raises NotInitialized, SourceUnavailable.
    """
    backend.check_initialised()
    return write_backup(backend.database, out, schema_version=SCHEMA_VERSION)


def restore(backend: Backend, source: IO[bytes], by: Actor) -> dict[str, int]:
    """Set the database up, pause the queue, and put a backup into it; the queue stays paused.

    Return how many documents there are of each collection, and as `ENDED` how many active exports stood in the way of
    others and were ended. What is refused leaves the queue as it was, and a pause that there was keeps its reason.
    Raises RestoreRefused, InitialisationFailed, SourceUnavailable.
    """
    backend.initialise()
    with _rewindable(source) as whole:
        check_backup(backend.database, whole, schema_version=SCHEMA_VERSION)
        before = backend.queue.pause.read()
        reason, subject = (_REASON, by.subject) if before is None else (None, before.by)
        pause = backend.queue.pause.begin(reason, subject)  # before there is anything that could be claimed
        if pause is None:
            raise RestoreRefused("the queue was resumed when it had just been paused for this")
        exports = RestoredExports(pause.since + timedelta(seconds=pause.seconds))
        counts = insert_backup(backend.database, whole, schema_version=SCHEMA_VERSION, of_export=exports)
    backend.audit.note(by, AuditAction.PAUSE, None)  # behind it: the log has to be empty before
    if exports.ended:
        _log.warning("ended, for they were active beside others in the backup: exports %s", ", ".join(exports.ended))
    return counts | {ENDED: len(exports.ended)}


@contextmanager
def _rewindable(source: IO[bytes]) -> Generator[IO[bytes]]:
    """Return `source`, or a copy of it in a file where it can be read only once."""
    if source.seekable():
        yield source
        return
    with TemporaryFile() as copy:
        shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield copy
