"""The archive as it is written: streamed, the same bytes every time, readable by whatever reads ZIP."""

from __future__ import annotations

import dataclasses
import io
import shutil
import struct
import subprocess
import zipfile
import zlib
from queue import Queue
from random import Random
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.zip_reader import java_stream, read_stream
from vfexport_core.files import zip as zip_module
from vfexport_core.files.names import unique_names
from vfexport_core.files.zip import LIMIT_BYTES, LIMIT_MEMBERS, ZipStream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 2**20
NAMES = ["NA/en-us-001.csv", "UK/été-001.csv", "日本/ja-jp-001.csv", ".._.._etc_passwd.csv", "empty.csv"]


def member_data(number: int) -> bytes:
    return b"" if number == 4 else b"".join(b"%d,fan%d@example.com\n" % (row, row * number) for row in range(2_000))


def write(members: dict[str, bytes], *, block: int = 1_000) -> bytes:
    out: list[bytes] = []
    with ZipStream(out.append) as archive:
        for name, data in members.items():
            archive.add(name, (data[at : at + block] for at in range(0, len(data), block)), len(data))
    return b"".join(out)


@pytest.fixture(scope="module")
def members() -> dict[str, bytes]:
    return {name: member_data(number) for number, name in enumerate(NAMES)}


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def test_python_reads_it(members: dict[str, bytes]):
    with zipfile.ZipFile(io.BytesIO(write(members))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == members
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert (entry.create_system, entry.external_attr >> 16) == (3, 0o100644)
            assert entry.extra == b""


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_reader_of_the_stream_needs_no_directory(members: dict[str, bytes], size: int):
    data = write(members)
    source = blocks(data, size)
    entries = read_stream(lambda: next(source, b""))
    assert {entry.name: b"".join(entry.data) for entry in entries} == members
    assert not any(entry.zip64 for entry in entries)


def test_java_reads_the_stream(members: dict[str, bytes], tmp_path: Path):
    path = tmp_path / "archive.zip"
    path.write_bytes(write(members))
    found = java_stream(path, tmp_path)
    if found is not None:  # the reader above is as strict; Java itself is asked where it is installed
        assert found == [(zlib.crc32(data), len(data), name) for name, data in members.items()]


def test_unzip_reads_it(members: dict[str, bytes], tmp_path: Path):
    path = tmp_path / "archive.zip"
    path.write_bytes(write(members))
    assert zipfile.is_zipfile(path)
    if shutil.which("unzip"):
        done = subprocess.run(["unzip", "-tq", str(path)], capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_members_give_the_same_bytes(members: dict[str, bytes]):
    assert write(members) == write(members)
    assert write(members) != write(dict(reversed(members.items())))


def test_every_block_leaves_before_the_next_is_taken():
    data = Random(1).randbytes(MIB)
    seen: list[int] = []
    written = 0

    def out(block: bytes) -> None:
        nonlocal written
        written += len(block)

    def source() -> Iterator[bytes]:
        for block in blocks(data, 65_536):
            seen.append(written)
            yield block

    with ZipStream(out) as archive:
        archive.add("a.csv", source(), len(data))
    behind = [number * 65_536 - size for number, size in enumerate(seen)]
    assert max(behind) <= 2 * 65_536, "what was given has left"


def test_no_member_at_all_is_an_archive_too():
    with zipfile.ZipFile(io.BytesIO(write({}))) as archive:
        assert archive.namelist() == []


def test_a_size_that_was_announced_wrongly_is_refused():
    with pytest.raises(ValueError, match="announced"), ZipStream(lambda _: None) as archive:
        archive.add("a.csv", [b"123"], 4)


def test_an_error_leaves_the_archive_without_its_directory():
    out: list[bytes] = []
    with pytest.raises(RuntimeError, match="broken"), ZipStream(out.append) as archive:  # noqa: PT012 that is the case
        archive.add("a.csv", [b"123"], 3)
        raise RuntimeError("broken")
    assert not zipfile.is_zipfile(io.BytesIO(b"".join(out)))


@pytest.fixture
def low_limits(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make Zip64 begin early: real sizes of more than 4 GiB take minutes to pack."""
    monkeypatch.setattr("vfexport_core.files.zip.LIMIT_BYTES", 1_000)
    monkeypatch.setattr("vfexport_core.files.zip.LIMIT_MEMBERS", 3)
    return 1_000


def test_zip64_is_used_from_one_byte_beyond_the_limit(low_limits: int, tmp_path: Path):
    sizes = {"just.csv": low_limits, "large.csv": low_limits + 1, "small.csv": 5}
    members = {name: bytes(size) for name, size in sizes.items()}
    data = write(members)
    source = blocks(data, 100)
    entries = read_stream(lambda: next(source, b""), limit=low_limits)
    assert [(entry.name, entry.size, entry.zip64) for entry in entries] == [
        ("just.csv", 1_000, False),
        ("large.csv", 1_001, True),
        ("small.csv", 5, False),
    ]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == members
        assert [entry.extract_version for entry in archive.infolist()] == [20, 45, 20]
    assert b"PK\6\6" not in data, "the archive itself is small"


def test_members_and_a_directory_beyond_the_limit(low_limits: int, tmp_path: Path):
    random = Random(1)
    members = {f"{number}.csv": random.randbytes(900) for number in range(3)}
    data = write(members)
    directory = data.index(b"PK\1\2")
    assert directory > low_limits
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == members
        assert [entry.header_offset > low_limits for entry in archive.infolist()] == [False, False, True]
        assert [entry.extract_version for entry in archive.infolist()] == [20, 20, 45]
    end = data.index(b"PK\6\6")
    (count, size, start) = struct.unpack("<3Q", data[end + 32 : end + 56])
    assert (count, size, start) == (3, end - directory, directory)
    path = tmp_path / "archive.zip"
    path.write_bytes(data)
    if shutil.which("unzip"):
        done = subprocess.run(["unzip", "-tq", str(path)], capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_more_members_than_the_old_format_counts():
    count = LIMIT_MEMBERS + 10
    out = io.BytesIO()
    with ZipStream(out.write) as archive:
        for number in range(count):
            archive.add(f"{number}.csv", [b"a\n"], 2)
    with zipfile.ZipFile(out) as archive:
        assert len(archive.namelist()) == count
        assert archive.read(f"{count - 1}.csv") == b"a\n"


def test_the_largest_sizes_fit_their_fields():
    member = zip_module._Member(b"a.csv", 1, LIMIT_BYTES, LIMIT_BYTES, LIMIT_BYTES, zip64=False)
    assert len(zip_module._directory_entry(member)) == 46 + 5
    large = dataclasses.replace(member, size=2 * LIMIT_BYTES, packed=LIMIT_BYTES + 1, place=LIMIT_BYTES + 2, zip64=True)
    entry = zip_module._directory_entry(large)
    assert struct.unpack("<2H3Q", entry[46 + 5 :]) == (1, 24, 2 * LIMIT_BYTES, LIMIT_BYTES + 1, LIMIT_BYTES + 2)


def test_a_reader_may_be_behind_a_pipe(members: dict[str, bytes]):
    """Writer and reader at the same time, a block between them: nothing has to be kept or sought."""
    pipe: Queue[bytes] = Queue(maxsize=1)

    def produce() -> None:
        with ZipStream(pipe.put) as archive:
            for name, data in members.items():
                archive.add(name, blocks(data, 1_000), len(data))

    writer = Thread(target=produce)
    writer.start()
    entries = read_stream(pipe.get)
    while writer.is_alive() or not pipe.empty():
        pipe.get()
        writer.join(0 if not pipe.empty() else 0.01)
    assert [entry.name for entry in entries] == NAMES


def test_names_of_promoters_stay_in_their_folder_and_apart():
    names = unique_names(["../../etc/passwd", "A", "A", "A (2)", "A_2_", "..", "", "C:\\x\0y", "Ünï ☃ 2.0"], "csv")
    assert names == [
        ".._.._etc_passwd.csv",
        "A.csv",
        "A (2).csv",
        "A _2_.csv",
        "A_2_.csv",
        "...csv",
        ".csv",
        "C__x_y.csv",
        "Ünï _ 2.0.csv",
    ]
    many = unique_names(["Same"] * 200, "csv")
    assert len(set(many)) == 200
    assert many[199] == "Same (200).csv"
