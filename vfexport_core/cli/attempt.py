"""One attempt of a claimed export, from its count to its end; whatever happens, the export does not stay TRIGGERED."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfexport_core.catalog import find_spec
from vfexport_core.cli import signals
from vfexport_core.delivery.cleanup import discard_attempt
from vfexport_core.errors import INTERNAL_CODE, ExportExpired, LeaseLost, VfexportError
from vfexport_core.exporting import ExportHooks, count_rows, run_export
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.cli.progress import Display
    from vfexport_core.delivery.buckets import BucketClients
    from vfexport_core.queue.models import Claim, Delivered, Export
    from vfexport_core.queue.store import ExportStore
    from vfexport_core.settings import Settings
    from vfexport_core.sources.client import Document

# How often the document is told; a display is told every time.
PROGRESS_SECONDS = 1.0
_MILLIS = 1_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What an export is made with."""

    settings: Settings
    database: Database[Document]
    store: ExportStore
    buckets: BucketClients


@dataclass(slots=True)
class AttemptRun:
    """Runs one claimed attempt in the main thread."""

    claim: Claim
    export: Export
    tools: Tools
    display: Display
    _keys: tuple[str, ...] = ()
    _deadline: float = field(init=False)
    _told: float = field(init=False)

    def run(self) -> Export:
        """Deliver and finish the export. An error or a signal ends it as FAILED, EXPIRED or CANCELED and comes out."""
        self._told = time.monotonic()
        self._deadline = self._told + self.tools.settings.timeout_millis / _MILLIS
        try:
            return self.tools.store.finish(self.claim, self._deliver())
        except BaseException as error:
            with signals.deferred():
                finished = self._end(error)
            if finished is not None:
                return finished
            raise

    def _deliver(self) -> Delivered:
        tools, export = self.tools, self.export
        count = count_rows(find_spec(export.export_type), export.campaign_id, tools.database)
        if count is not None:
            tools.store.set_count(self.claim, count)
        self.display.expect(count)
        hooks = ExportHooks(on_progress=self._progress, note_keys=self._note_keys, confirm=self._confirm)
        return run_export(export, settings=tools.settings, database=tools.database, buckets=tools.buckets, hooks=hooks)

    def _progress(self, read: int, rows: int, size: int) -> None:
        self._check_deadline()
        self.display.update(read, rows, size)
        if time.monotonic() - self._told >= PROGRESS_SECONDS:
            self.tools.store.progress(self.claim, read, rows, size)
            self._told = time.monotonic()

    def _note_keys(self, bucket: str, keys: tuple[str, ...]) -> None:
        self._keys += keys
        self.tools.store.note_keys(self.claim, bucket, keys)

    def _confirm(self) -> None:
        self._check_deadline()
        self.tools.store.confirm(self.claim)

    def _check_deadline(self) -> None:
        if time.monotonic() > self._deadline:
            millis = self.tools.settings.timeout_millis
            raise ExportExpired(f"the export took longer than {millis} ms", payload=self.export.id)

    def _end(self, error: BaseException) -> Export | None:
        """Write down how the attempt ended and take away what it published; the export if it did finish after all."""
        try:
            final = self._close(error)
        except VfexportError as failure:
            # Now it is unknown whether the export was finished: its file may be the delivered one, so it stays.
            _log.warning("export %s could not be closed: %s", self.export.id, failure.message)
            return None
        if final.status is ExportStatus.FINISHED and final.run_id == self.claim.run_id:
            return final
        self._discard()
        return None

    def _close(self, error: BaseException) -> Export:
        store = self.tools.store
        try:
            if isinstance(error, KeyboardInterrupt):
                return store.cancel(self.claim)
            if isinstance(error, ExportExpired):
                return store.expire(self.claim, error.as_dict())
            return store.fail(self.claim, error_document(error))
        except LeaseLost:
            return store.get(self.export.id)

    def _discard(self) -> None:
        if not self._keys:
            return
        try:
            target = self.tools.buckets.target(find_spec(self.export.export_type).bucket)
            discard_attempt(target, self.export.id, self.claim.attempt, self._keys)
        except VfexportError as failure:
            _log.warning("something of export %s may be left in its bucket: %s", self.export.id, failure.message)


def error_document(error: BaseException) -> Document:
    """Give the error as the export document keeps it; the text of an unexpected one may hold a fan's data."""
    if isinstance(error, VfexportError):
        return error.as_dict()
    return {"code": INTERNAL_CODE, "message": f"unexpected {type(error).__name__}", "payload": None}
