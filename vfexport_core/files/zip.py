"""ZIP as a stream: each byte is written once, nothing is kept, and the same members give the same bytes.

Members carry a fixed time and fixed attributes and come in the order in which they are added. Zip64 is used for a
member or an archive that needs it and for no other, by the format's own limits: ``zipfile`` uses it from 2 GiB on, and
then a reader that only sees the stream (Java's ``ZipInputStream`` up to version 20) expects a shorter descriptor behind
the data than it finds.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Self

LIMIT_BYTES = 0xFFFF_FFFF
LIMIT_MEMBERS = 0xFFFF

# What stands in a field whose value is in the Zip64 form; by itself the largest value that the field holds.
_ELSEWHERE, _ELSEWHERE_COUNT = 0xFFFF_FFFF, 0xFFFF
_LEVEL = 6
_VERSION, _VERSION_ZIP64 = 20, 45
_MADE_BY_UNIX = 3 << 8
_FLAGS = 0x0008 | 0x0800  # sizes follow the data; the name is UTF-8
_DEFLATED = 8
_TIME, _DATE = 0, 0x0021  # 1980-01-01 00:00:00, the format's first moment
_REGULAR_FILE = 0o100644 << 16

_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTOR, _DESCRIPTOR_ZIP64 = struct.Struct("<4s3L"), struct.Struct("<4sL2Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END_ZIP64, _LOCATOR_ZIP64 = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")


@dataclass(frozen=True, slots=True)
class _Member:
    name: bytes
    crc: int
    packed: int
    size: int
    place: int
    zip64: bool


class ZipStream:
    """Writes members to `write`; leaving the context without an error writes the archive's directory."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._out = write
        self._written = 0
        self._members: list[_Member] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()

    def add(self, name: str, data: Iterable[bytes], size: int) -> None:
        """Add a member; `size` is that of its data in bytes. Raises ValueError when it is not."""
        raw_name, place, zip64 = name.encode(), self._written, size > LIMIT_BYTES
        self._write(_local_header(raw_name, zip64=zip64))
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        start, seen, crc = self._written, 0, 0
        for block in data:
            seen, crc = seen + len(block), zlib.crc32(block, crc)
            self._write(packer.compress(block))
        self._write(packer.flush())
        packed = self._written - start
        if seen != size or (packed > LIMIT_BYTES and not zip64):
            raise ValueError(f"{name} has {seen} bytes ({packed} packed), announced were {size}")
        descriptor = _DESCRIPTOR_ZIP64 if zip64 else _DESCRIPTOR
        self._write(descriptor.pack(b"PK\7\x08", crc, packed, seen))
        self._members.append(_Member(raw_name, crc, packed, seen, place, zip64))

    def _write(self, data: bytes) -> None:
        if data:
            self._out(data)
            self._written += len(data)

    def _finish(self) -> None:
        start, count = self._written, len(self._members)
        for member in self._members:
            self._write(_directory_entry(member))
        size = self._written - start
        if count > LIMIT_MEMBERS or size > LIMIT_BYTES or start > LIMIT_BYTES:
            end = self._written
            versions = (_MADE_BY_UNIX | _VERSION_ZIP64, _VERSION_ZIP64)
            rest = _END_ZIP64.size - 12  # the record without its signature and this field
            self._write(_END_ZIP64.pack(b"PK\6\6", rest, *versions, 0, 0, count, count, size, start))
            self._write(_LOCATOR_ZIP64.pack(b"PK\6\7", 0, end, 1))
        shown = min(count, _ELSEWHERE_COUNT)
        self._write(_END.pack(b"PK\5\6", 0, 0, shown, shown, min(size, _ELSEWHERE), min(start, _ELSEWHERE), 0))


def _local_header(name: bytes, *, zip64: bool) -> bytes:
    """Write what stands before a member's data; its sizes are in the descriptor behind it."""
    # The extra field is what tells a reader of the stream that the descriptor has sizes of 8 bytes.
    extra = struct.pack("<2H2Q", 1, 16, 0, 0) if zip64 else b""
    sizes = (_ELSEWHERE, _ELSEWHERE) if zip64 else (0, 0)
    version = _VERSION_ZIP64 if zip64 else _VERSION
    fixed = _LOCAL.pack(b"PK\3\4", version, _FLAGS, _DEFLATED, _TIME, _DATE, 0, *sizes, len(name), len(extra))
    return fixed + name + extra


def _directory_entry(member: _Member) -> bytes:
    """Write a member's entry in the directory: what is too large for its field stands in the extra one."""
    sizes = (member.size, member.packed) if member.zip64 else ()
    far = member.place > LIMIT_BYTES
    large = (*sizes, member.place) if far else sizes
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    version = _VERSION_ZIP64 if large else _VERSION
    return (
        _CENTRAL.pack(
            b"PK\1\2",
            _MADE_BY_UNIX | version,
            version,
            _FLAGS,
            _DEFLATED,
            _TIME,
            _DATE,
            member.crc,
            _ELSEWHERE if member.zip64 else member.packed,
            _ELSEWHERE if member.zip64 else member.size,
            len(member.name),
            len(extra),
            0,
            0,
            0,
            _REGULAR_FILE,
            _ELSEWHERE if far else member.place,
        )
        + member.name
        + extra
    )
