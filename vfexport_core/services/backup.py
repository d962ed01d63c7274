"""Backing up what the service keeps of itself, and bringing it back; the files in the buckets are their owner's."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from vfexport_core.mongo.backup import read_backup, write_backup
from vfexport_core.queue.audit import AuditAction
from vfexport_core.services.initialise import SCHEMA_VERSION

if TYPE_CHECKING:
    from vfexport_core.queue.audit import Actor
    from vfexport_core.services.bootstrap import Backend

_REASON = "restored from a backup: compare it with the buckets (`vfexport reconcile`), then resume"


def back_up(backend: Backend, out: IO[bytes]) -> dict[str, int]:
    """Write a backup, and return how many documents there are of each collection.

    It may be taken while exports go on. Raises NotInitialized, SourceUnavailable.
    """
    backend.check_initialised()
    return write_backup(backend.database, out, schema_version=SCHEMA_VERSION)


def restore(backend: Backend, source: IO[bytes], by: Actor) -> dict[str, int]:
    """Set the database up, pause the queue, and put a backup into it; the queue stays paused.

    Return how many documents there are of each collection. Raises RestoreRefused, InitialisationFailed,
    SourceUnavailable.
    """
    backend.initialise()
    backend.queue.pause.begin(_REASON, by.subject)  # before there is anything that could be claimed
    counts = read_backup(backend.database, source, schema_version=SCHEMA_VERSION)
    backend.audit.note(by, AuditAction.PAUSE, None)  # behind it: the log has to be empty before
    return counts
