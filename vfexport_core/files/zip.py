"""ZIP as a stream: each byte is written once, nothing is kept, and the same members give the same bytes.

Members carry a fixed time and fixed attributes and come in the order in which they are added. Zip64 is used for a
member or an archive that needs it and for no other, since older readers stumble over it where it is not needed.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import IO, Self

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = 0o100644 << 16
_UNIX = 3
_LEVEL = 6


class _Sink:
    """The least of a file that zipfile writes to without going back."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def write(self, data: bytes) -> int:
        self._write(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept here."""


class ZipStream:
    """Writes members to `write`; leaving the context without an error writes the archive's directory."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._archive = zipfile.ZipFile(
            cast("IO[bytes]", _Sink(write)), "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._archive.close()
        else:
            self._archive.fp = None  # else its finaliser would write a directory to a file that was given up

    def add(self, name: str, data: Iterable[bytes], size: int) -> None:
        """Add a member; `size` is that of its data in bytes and decides about Zip64."""
        member = zipfile.ZipInfo(name, _FIXED_TIME)
        member.compress_type = zipfile.ZIP_DEFLATED
        member.create_system = _UNIX
        member.external_attr = _REGULAR_FILE
        member.file_size = size
        with self._archive.open(member, "w") as out:
            for block in data:
                out.write(block)
