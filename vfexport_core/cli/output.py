"""Where `vfexport export --output` writes: a file that appears complete or not at all, or stdout."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from vfexport_core.errors import DeliveryRefused, OutputFailed
from vfexport_core.storage.local_store import NEW_FILE, LocalStore
from vfexport_core.storage.object_store import NewObject

if TYPE_CHECKING:
    from collections.abc import Generator

STDOUT = "-"
PRIVATE = 0o600
"""The mode of a file that only whoever runs the command may read."""


class Output(Protocol):
    """Takes the bytes of one file, and knows their digest."""

    @property
    def sha256(self) -> str:
        """The digest, in hex, of everything written so far."""
        ...

    def write(self, data: bytes, /) -> int: ...


class Digester:
    """A binary stream that hands on what it is given and knows its SHA-256."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest, in hex, of everything written so far."""
        return self._digest.hexdigest()

    def write(self, data: bytes, /) -> int:
        self._digest.update(data)
        return self._out.write(data)


@contextlib.contextmanager
def opened_output(path: str, *, mode: int = NEW_FILE) -> Generator[Output]:
    """Open FILE or ``-`` for the block; on an error a file that was there stays as it was. A new one gets `mode`.

    Raises OutputFailed when it cannot be written; a closed stdout (`| head`) stays BrokenPipeError.
    """
    if path == STDOUT:
        with _failing_as("standard output"):
            yield Digester(sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return
    # A link is followed: what it points at is replaced, not the link.
    file = Path(path).resolve()
    with _failing_as(path), _opened(file, mode) as out:
        yield out


@contextlib.contextmanager
def _opened(file: Path, mode: int) -> Generator[Output]:
    if file.exists() and not stat.S_ISREG(file.stat().st_mode):
        # A device or a pipe is written to; a rename would put a file in its place.
        with file.open("wb") as out:
            yield Digester(out)
        return
    new = NewObject(key=file.name, staging_key=f".{file.name[:200]}.{secrets.token_hex(4)}.part")
    with LocalStore(file.parent, bare=True, mode=mode).begin(new) as writer:
        writer.write(b"")  # what cannot be written is refused before anything is read
        yield writer
        writer.publish({}, check_fence=lambda: None)


@contextlib.contextmanager
def _failing_as(name: str) -> Generator[None]:
    """Call what the operating system refuses by our own name."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, DeliveryRefused) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        why = cause.strerror if isinstance(cause, OSError) and cause.strerror else error
        raise OutputFailed(f"{name} cannot be written: {why}", payload=name) from error
