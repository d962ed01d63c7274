"""The files of an export as objects of a store that appear together or, as far as it allows, not at all.

Of several, each is brought to the store before the first is made visible; when making one visible fails, those already
visible are deleted again. A single one needs no such step in between.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from vfexport_core.errors import VfexportError
from vfexport_core.storage.object_keys import CONTENT_TYPES, EXPORT_ID, staging_key
from vfexport_core.storage.object_store import NewObject

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from vfexport_core.files.containers import FileName
    from vfexport_core.pipeline.attempt_context import AttemptContext
    from vfexport_core.pipeline.naming import FileNaming
    from vfexport_core.storage.object_store import ObjectStore, ObjectWriter

_log = logging.getLogger(__name__)


class ObjectSink:
    """The files of one attempt, in one bucket.

    Raises DeliveryFailed, DeliveryRefused and what the attempt has to stop for.
    """

    takes_several = True

    def __init__(self, store: ObjectStore, naming: FileNaming, attempt: AttemptContext) -> None:
        self.keys: dict[FileName, str] = {}
        self._store = store
        self._naming = naming
        self._attempt = attempt
        self._writers: dict[FileName, ObjectWriter] = {}
        self._opened = ExitStack()

    @property
    def bytes_written(self) -> int:
        return sum(writer.bytes_written for writer in self._writers.values())

    @property
    def sha256(self) -> tuple[str, ...]:
        """The digest of each file, in their order, in hex."""
        return tuple(writer.sha256 for writer in self._writers.values())

    def begin(self, files: Sequence[FileName]) -> None:
        """Note the keys before there is anything under them; raises ConfigurationError when two are the same."""
        keys = self._naming.keys(files)
        if None not in keys and self._attempt.is_taken(keys.values()):
            keys = self._naming.keys(files, shared_minute=True)
        self._attempt.note_keys(self._store.name, tuple(keys.values()))
        self.keys = keys

    def open(self, file: FileName) -> None:
        naming, key = self._naming, self.keys[file]
        export, spec = naming.export, naming.spec
        new = NewObject(
            key=key,
            staging_key=staging_key(export.id, export.attempt, len(self._writers) + 1),
            acl=spec.acl,
            content_type=CONTENT_TYPES[spec.extension],
            content_disposition=naming.disposition(file, key),
            metadata={EXPORT_ID: export.id, "export-type": spec.type},
        )
        self._writers[file] = self._opened.enter_context(self._watched(self._store.begin(new)))

    def write(self, data: bytes) -> None:
        self._current.write(data)

    def end(self) -> None:
        """Bring the file to the store, visible to nobody, if it has to wait for others."""
        if len(self.keys) > 1:
            self._current.stage()

    def publish(self, rows: Mapping[FileName, int]) -> None:
        """Make one object after the other visible, each after the fence was checked (L6)."""
        reached: list[str] = []
        try:
            for file, writer in self._writers.items():
                reached.append(writer.key)  # before, so that an interrupt cannot fall in between
                writer.publish({"row-count": str(rows[file])}, self._attempt.check_fence)
        except BaseException:
            if len(self._writers) > 1:  # a single one is discarded by its writer
                self._take_back(reached)
            raise

    @property
    def _current(self) -> ObjectWriter:
        return next(reversed(self._writers.values()))

    @contextmanager
    def _watched(self, writer: ObjectWriter) -> Generator[ObjectWriter]:
        """Use `writer` in the block, discard it behind it unless it has published, and tell if that left something."""
        try:
            with writer:
                yield writer
        finally:
            if not writer.is_drained:
                self._attempt.note_undrained()

    def _take_back(self, keys: list[str]) -> None:
        try:
            self._store.remove(keys, self._naming.export.id)
        except VfexportError as error:
            # The attempt's noted keys say what is left; the error that led here says more to people.
            _log.warning("some of %d files may be left: %s", len(keys), error.message)

    def __enter__(self) -> Self:
        self._opened.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.__exit__(*error)  # pyright: ignore[reportArgumentType] the three that a context manager is told
