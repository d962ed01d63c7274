"""Readers of ZIP archives that see them as a stream, member by member, without the directory at the end.

`read_stream` does what Java's ``ZipInputStream`` does (up to version 20, which is the strictest about Zip64): local
header, deflated data until it says that it ends, descriptor. `java_stream` asks the real one.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAGIC = 0xFFFF_FFFF
STEP = 1 << 16

JAVA_PROGRAM = """
import java.io.*;
import java.util.zip.*;

public class Unzip {
    public static void main(String[] arguments) throws IOException {
        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        byte[] block = new byte[1 << 16];
        try (ZipInputStream archive = new ZipInputStream(new BufferedInputStream(System.in))) {
            for (ZipEntry entry; (entry = archive.getNextEntry()) != null;) {
                CRC32 crc = new CRC32();
                long size = 0;
                for (int read; (read = archive.read(block)) > 0; size += read) crc.update(block, 0, read);
                archive.closeEntry();
                out.println(crc.getValue() + " " + size + " " + entry.getName());
            }
        }
    }
}
"""


@dataclass
class Source:
    """Bytes that come by `more` (empty: the end) and are looked at once, in order."""

    more: Callable[[], bytes]
    rest: bytes = b""

    def take(self, count: int) -> bytes:
        while len(self.rest) < count and (block := self.more()):
            self.rest += block
        taken, self.rest = self.rest[:count], self.rest[count:]
        assert len(taken) == count, "the archive ends in the middle"
        return taken

    def block(self) -> bytes:
        block, self.rest = self.rest or self.more(), b""
        return block


@dataclass
class Entry:
    name: str
    crc: int = 0
    size: int = 0
    zip64: bool = False
    data: list[bytes] = field(default_factory=list)


def read_stream(more: Callable[[], bytes], *, limit: int = MAGIC, keep: bool = True) -> list[Entry]:
    """Read all members of a stream, Zip64 from beyond `limit`; raises AssertionError where Java would refuse it."""
    source, entries = Source(more), []
    while (signature := source.take(4)) == b"PK\3\4":
        entries.append(_read_member(source, limit, keep=keep))
    assert signature in {b"PK\1\2", b"PK\5\6", b"PK\6\6"}, signature
    return entries


def _read_member(source: Source, limit: int, *, keep: bool) -> Entry:
    version, flags, method, time, date, crc, packed, size, name_size, extra_size = struct.unpack(
        "<5H3L2H", source.take(26)
    )
    assert (flags & ~0x0808, method) == (0, 8)
    assert flags & 8, "sizes follow the data"
    assert (time, date, crc) == (0, 0x21, 0), "a fixed time"
    entry = Entry(source.take(name_size).decode("utf-8" if flags & 0x800 else "ascii"))
    extra = source.take(extra_size)
    entry.zip64 = extra[:4] == struct.pack("<2H", 1, 16)
    assert (packed, size, version) == ((MAGIC, MAGIC, 45) if entry.zip64 else (0, 0, 20))
    read = _inflate(source, entry, keep=keep)
    large = read > limit or entry.size > limit
    assert large == entry.zip64, "Java before 21 takes the descriptor's form from the sizes alone"
    form = "<4sL2Q" if large else "<4s3L"
    assert struct.unpack(form, source.take(struct.calcsize(form))) == (b"PK\7\x08", entry.crc, read, entry.size)
    return entry


def _inflate(source: Source, entry: Entry, *, keep: bool) -> int:
    unpacker, read = zlib.decompressobj(-15), 0
    while not unpacker.eof:
        block = source.block()
        assert block, "the data ends in the middle"
        read += len(block)
        while block and not unpacker.eof:
            data = unpacker.decompress(block, STEP)
            entry.crc, entry.size = zlib.crc32(data, entry.crc), entry.size + len(data)
            if keep:
                entry.data.append(data)
            block = unpacker.unconsumed_tail
    source.rest = unpacker.unused_data
    return read - len(unpacker.unused_data)


def java_stream(archive: Path, folder: Path) -> list[tuple[int, int, str]] | None:
    """Return (CRC, size, name) of every member as Java reads it from a pipe; None where there is no Java."""
    javac, java = shutil.which("javac"), shutil.which("java")
    if javac is None or java is None:
        return None
    (folder / "Unzip.java").write_text(JAVA_PROGRAM)
    subprocess.run([javac, "-d", str(folder), str(folder / "Unzip.java")], check=True, timeout=120)
    with archive.open("rb") as source:
        done = subprocess.run(
            [java, "-Xmx64m", "-cp", str(folder), "Unzip"], stdin=source, capture_output=True, check=True, timeout=120
        )
    lines = [line.split(" ", 2) for line in done.stdout.decode().splitlines()]
    return [(int(crc), int(size), name) for crc, size, name in lines]
