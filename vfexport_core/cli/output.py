"""Where `vfexport export --output` writes: a file that appears complete or not at all, or stdout."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from vfexport_core.errors import OutputFailed

if TYPE_CHECKING:
    from collections.abc import Generator

STDOUT = "-"


class Digester:
    """A binary stream that hands on what it is given and knows its SHA-256."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest, in hex, of everything written so far."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._out.write(data)


@contextlib.contextmanager
def opened_output(path: str) -> Generator[Digester]:
    """Open FILE or ``-`` for the block; on an error a file that was there stays as it was.

    Raises OutputFailed when it cannot be written; a closed stdout (`| head`) stays BrokenPipeError.
    """
    if path == STDOUT:
        out = sys.stdout.buffer
        with _failing_as("standard output"):
            yield Digester(out)
            out.flush()
        return
    # A link is followed: what it points at is replaced, not the link.
    file = Path(path).resolve()
    with _failing_as(path), _opened(file) as out:
        yield Digester(out)


@contextlib.contextmanager
def _opened(file: Path) -> Generator[BinaryIO]:
    if file.exists() and not stat.S_ISREG(file.stat().st_mode):
        # A device or a pipe is written to; a rename would put a file in its place.
        with file.open("wb") as out:
            yield out
        return
    draft = file.with_name(f".{file.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with draft.open("xb") as out:
            yield cast("BinaryIO", out)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _failing_as(name: str) -> Generator[None]:
    """Call what the operating system refuses by our own name."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"{name} cannot be written: {error.strerror or error}", payload=name) from error
