"""A folder of the local file system as an `ObjectStore`: for `vfexport export --output`, and for tests without S3.

A key is a path below the folder. A file gets its name by one link or rename, so that it appears complete or not at all;
what is being written lies under its staging key. What is kept with a file lies below ``_metadata/``, under its key and
the number of its inode: it is there before the file appears, and is never taken for that of another file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO, Self

from vfexport_core.errors import DeliveryFailed, DeliveryRefused
from vfexport_core.storage.object_keys import EXPORT_ID, staging_prefix
from vfexport_core.storage.object_store import GRACE_SECONDS, PIECE_BYTES, SHA256, ObjectVersion

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Buffer

    from vfexport_core.storage.object_store import NewObject

NEW_FILE = 0o666
"""The mode that a program gives a file unless it has a reason."""

_METADATA_FOLDER = "_metadata/"


class _State(Enum):
    OPEN = "open"
    STAGED = "staged"
    BROKEN = "broken by an earlier error"
    PUBLISHED = "published"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class LocalStore:
    """See the module. Raises DeliveryRefused for whatever the operating system refuses, with its OSError as the cause.

    With `bare` there is nothing in the folder but the files: each takes the place of the one that is there, nothing is
    kept with it, and the folder of a key has to be there. A new file has `mode`, as far as the process's umask lets it.
    """

    folder: Path
    bare: bool = False
    mode: int = NEW_FILE

    @property
    def name(self) -> str:
        return str(self.folder)

    def begin(self, new: NewObject) -> LocalWriter:
        for key in (new.key, new.staging_key):
            self.path(key)  # refused before a byte is written
        return LocalWriter(self, new)

    def sign(self, key: str, seconds: int, download_name: str | None = None) -> str:  # noqa: ARG002 a file has one name
        """Return the file's address, which is good for as long as the file is there."""
        return self.path(key).absolute().as_uri()

    def read(self, key: str) -> Iterator[bytes]:
        with self.failing("read", key), self.path(key).open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    def list(self, keys: Iterable[str], stop: threading.Event | None = None) -> dict[str, builtins.list[ObjectVersion]]:
        self._check(stop)
        return {key: [ObjectVersion(key)] for key in dict.fromkeys(keys) if self.path(key).is_file()}

    def delete(
        self, versions: Sequence[ObjectVersion], stop: threading.Event | None = None
    ) -> dict[str, DeliveryFailed | DeliveryRefused]:
        left: dict[str, DeliveryFailed | DeliveryRefused] = {}
        for version in versions:
            self._check(stop)
            try:
                self._unlink(version.key)
            except DeliveryRefused as error:
                left[version.key] = error
        return left

    def remove(self, keys: Sequence[str], owner: str | None = None) -> None:
        for key in keys:
            if owner is None or owner in key or self.metadata(key).get(EXPORT_ID) == owner:
                self._unlink(key)

    def abort_uploads(self, keys: Sequence[str], stop: threading.Event | None = None) -> None:
        """Do nothing: what is being written lies under its staging key alone."""

    def discard_attempt(
        self, export_id: str, attempt: int, keys: Sequence[str], stop: threading.Event | None = None
    ) -> None:
        self._check(stop)
        self.remove(keys, export_id)
        prefix = staging_prefix(export_id, attempt)
        with self.failing("discard", prefix):
            for path in self.path(prefix).glob("*"):
                path.unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        """Return where the object with this key is; raises DeliveryRefused for a key that leads out of the folder."""
        path = self.folder / key
        if ".." in path.parts or not path.is_relative_to(self.folder):
            raise DeliveryRefused(f"folder {self.name}: {key!r} is not a key below it", payload=self.name)
        return path

    def metadata(self, key: str) -> dict[str, str]:
        """Return what is kept with an object: its metadata, by name; empty when there is none."""
        with self.failing("read", key):
            path = self.path(key)
            kept = self.metadata_path(key, path.stat().st_ino) if path.is_file() else None
            return json.loads(kept.read_bytes()) if kept is not None and kept.is_file() else {}

    def metadata_path(self, key: str, inode: int) -> Path:
        """Return where that is which is kept with an object."""
        return self.path(f"{_METADATA_FOLDER}{key}@{inode}")

    def make_folder(self, path: Path) -> Path:
        """Return the path, in a folder that is there."""
        if not self.bare:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def failing(self, operation: str, key: str) -> Generator[None]:
        """Raise DeliveryRefused for what the operating system refuses."""
        try:
            yield
        except OSError as error:
            message = f"folder {self.name}: {operation} {key} failed: {error.strerror or error}"
            raise DeliveryRefused(message, payload=self.name) from error

    def _unlink(self, key: str) -> None:
        with self.failing("delete", key):
            path = self.path(key)
            if not path.is_file():
                return
            inode = path.stat().st_ino
            path.unlink(missing_ok=True)
            self.metadata_path(key, inode).unlink(missing_ok=True)

    def _check(self, stop: threading.Event | None) -> None:
        if stop is not None and stop.is_set():
            raise DeliveryFailed(f"folder {self.name}: not asked any more: it was aborted", payload=self.name)


class LocalWriter:
    """Writes one file; see `ObjectWriter`."""

    def __init__(self, store: LocalStore, new: NewObject) -> None:
        self.key = new.key
        self.bytes_written = 0
        self.is_drained = True
        self._store = store
        self._new = new
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._state = _State.OPEN
        self._lock = threading.RLock()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, block: Buffer, /) -> int:
        with self._step("write", _State.OPEN):
            data = memoryview(block)
            self._open().write(data)
            self._digest.update(data)
            self.bytes_written += data.nbytes
        return data.nbytes

    def stage(self) -> None:
        """Bring the file to the disk, under its staging key."""
        with self._step("stage", _State.OPEN, _State.STAGED):
            file = self._open()
            file.flush()
            os.fsync(file.fileno())
            self._state = _State.STAGED

    def publish(self, metadata: Mapping[str, str], check_fence: Callable[[], object]) -> None:
        self.stage()
        store = self._store
        with self._step("publish", _State.STAGED):
            draft, path = store.path(self._new.staging_key), store.make_folder(store.path(self.key))
            if not store.bare:
                kept = store.make_folder(store.metadata_path(self.key, self._inode()))
                kept.write_text(json.dumps({**self._new.metadata, **metadata, SHA256: self.sha256}))
            check_fence()
            if store.bare:
                draft.replace(path)
            else:
                os.link(draft, path)  # which fails when there is another
                draft.unlink()
            self._state = _State.PUBLISHED
        self._open().close()

    def discard(self, grace_seconds: float = GRACE_SECONDS) -> bool:  # noqa: ARG002 nothing is under way
        with self._lock:
            if self._state is _State.PUBLISHED:
                return True
            self._state = _State.DISCARDED
            if self._file is not None and not self._file.closed:
                with self._file, self._store.failing("discard", self.key):
                    self._take_away(self._inode())
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _take_away(self, inode: int) -> None:
        """Delete the file wherever it is by now; one of another under the same key stays."""
        store = self._store
        store.path(self._new.staging_key).unlink(missing_ok=True)
        if store.bare:
            return  # what was there before is gone already, if the file has its name
        path = store.path(self.key)
        if path.is_file() and path.stat().st_ino == inode:
            path.unlink()
        store.metadata_path(self.key, inode).unlink(missing_ok=True)

    def _open(self) -> BinaryIO:
        if self._file is None:
            path = self._store.make_folder(self._store.path(self._new.staging_key))
            # From its first byte on: a mode that is changed later comes too late.
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._store.mode), "wb")
        return self._file

    def _inode(self) -> int:
        return os.fstat(self._open().fileno()).st_ino

    @contextlib.contextmanager
    def _step(self, operation: str, *states: _State) -> Generator[None]:
        """Guard a step that is allowed in these states; one that fails, or is interrupted, breaks the writer."""
        with self._lock:
            if self._state is _State.DISCARDED:
                message = f"folder {self._store.name}: {operation} {self.key}: it was aborted"
                raise DeliveryFailed(message, payload=self._store.name)
            if self._state not in states:
                raise ValueError(f"the writer is {self._state.value}")
            try:
                with self._store.failing(operation, self.key):
                    yield
            except BaseException:
                self._state = _State.BROKEN
                raise
