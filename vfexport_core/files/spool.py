"""Rows that arrive mixed and leave by group, in bounded memory and a bounded temporary file.

Rows come in the order of ``_id``, files are per region or promoter. Reading the database once per group would cost it
dearly, so the rows are spooled: each group's lines are buffered, and when all buffers together exceed `BUFFER_BYTES`
they are appended to one temporary file. The file has no name: whatever happens to the process, nothing is left behind.
Its size is that of the CSV text, at most `limit_bytes`.
"""

from __future__ import annotations

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
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, group: Group, data: bytes) -> None:
        """Add bytes to a group; raises SpoolFull when the temporary file would grow beyond its limit."""
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
        """Give a group's size in bytes."""
        return self._groups[group].size if group in self._groups else 0

    def read(self, group: Group) -> Iterator[bytes]:
        """Yield a group's bytes in the order in which they were added."""
        stored = self._groups.get(group)
        if stored is None:
            return
        for start, length in stored.pieces:
            self._file.seek(start)
            end = start + length
            while (position := self._file.tell()) < end:
                yield self._file.read(min(_READ_BYTES, end - position))
        yield from stored.buffered

    def _flush(self) -> None:
        if self._written + self._buffered > self._limit_bytes:
            raise SpoolFull(f"the rows of this export need more than {self._limit_bytes} bytes of temporary space")
        self._file.seek(self._written)
        for stored in self._groups.values():
            length = sum(map(len, stored.buffered))
            if length:
                self._file.writelines(stored.buffered)
                stored.pieces.append((self._written, length))
                self._written += length
                stored.buffered = []
        self._file.flush()
        self._buffered = 0
