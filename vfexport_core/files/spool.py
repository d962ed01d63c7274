"""Rows that arrive mixed and leave by group, in bounded memory and a bounded temporary file.

Rows come in the order of ``_id``, files are per region or promoter. Reading the database once per group would cost it
dearly, so the rows are spooled: each group's lines are buffered, and when all buffers together exceed `BUFFER_BYTES`
they are appended to one temporary file. The file has no name: whatever happens to the process, nothing is left behind.
Its size is that of the CSV text, at most `limit_bytes`.
"""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from vfexport_core.errors import SpoolFull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

BUFFER_BYTES = 32 * 2**20
LIMIT_BYTES = 16 * 2**30
_READ_BYTES = 2**20

Group = TypeVar("Group")


@dataclass(slots=True)
class _Stored:
    buffered: list[bytes] = field(default_factory=list[bytes])
    pieces: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    size: int = 0


class Spool(Generic[Group]):
    """Bytes by group; a context manager that gives its space back."""

    def __init__(self, *, buffer_bytes: int = BUFFER_BYTES, limit_bytes: int = LIMIT_BYTES) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 closed by __exit__
        self._groups: dict[Group, _Stored] = {}
        self._buffered = 0
        self._written = 0
        self._buffer_bytes = buffer_bytes
        self._limit_bytes = limit_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, group: Group, data: bytes) -> None:
        """Add bytes to a group; raises SpoolFull when the temporary file would outgrow its limit or its disk."""
        stored = self._groups.setdefault(group, _Stored())
        if not data:
            return
        stored.buffered.append(data)
        stored.size += len(data)
        self._buffered += len(data)
        if self._buffered > self._buffer_bytes:
            self._flush()

    def groups(self) -> list[Group]:
        """List the groups, in the order in which they first came."""
        return list(self._groups)

    def size(self, group: Group) -> int:
        """Return a group's size in bytes."""
        return self._groups[group].size if group in self._groups else 0

    def read(self, group: Group) -> Iterator[bytes]:
        """Yield a group's bytes in the order in which they were added."""
        stored = self._groups.get(group)
        if stored is None:
            return
        for start, length in stored.pieces:
            for position in range(start, start + length, _READ_BYTES):
                # At a given place, so that groups may also be read in turns.
                yield os.pread(self._file.fileno(), min(_READ_BYTES, start + length - position), position)
        yield from stored.buffered

    def _flush(self) -> None:
        if self._written + self._buffered > self._limit_bytes:
            raise SpoolFull(f"the rows of this export need more than {self._limit_bytes} bytes of temporary space")
        try:
            for stored in self._groups.values():
                self._write(stored)
            self._file.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise SpoolFull(f"the temporary folder is full: {error.strerror}") from error
        self._buffered = 0

    def _write(self, stored: _Stored) -> None:
        length = sum(map(len, stored.buffered))
        if length:
            self._file.writelines(stored.buffered)
            stored.pieces.append((self._written, length))
            self._written += length
            stored.buffered = []
