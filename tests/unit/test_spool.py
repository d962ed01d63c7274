"""Rows by group in a bounded buffer and a bounded temporary file, of which nothing is ever left."""

from __future__ import annotations

import errno
import tempfile
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from vfexport_core.errors import SpoolFull
from vfexport_core.files.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def fill(spool: Spool[str], rounds: int = 50) -> dict[str, bytes]:
    expected: dict[str, bytes] = {}
    for number in range(rounds):
        for group in ("b", "a", "c"):
            line = f"{group},{number}\n".encode() * (number % 4)
            spool.append(group, line)
            expected[group] = expected.get(group, b"") + line
    return expected


@pytest.mark.parametrize("buffer_bytes", [0, 1, 20, 500, 10**6])
def test_groups_come_back_whole_and_in_order_whatever_the_buffer(buffer_bytes: int, temporary: Path):
    with Spool[str](buffer_bytes=buffer_bytes) as spool:
        expected = fill(spool)
        assert spool.groups() == ["b", "a", "c"]
        assert {group: b"".join(spool.read(group)) for group in spool.groups()} == expected
        assert {group: spool.size(group) for group in expected} == {g: len(data) for g, data in expected.items()}
        assert b"".join(spool.read("b")) == expected["b"], "a group may be read again"
        assert list(temporary.iterdir()) == [], "the file has no name"


def test_groups_may_be_read_in_turns(temporary: Path):
    with Spool[str](buffer_bytes=20) as spool:
        expected = fill(spool)
        turns = {group: spool.read(group) for group in expected}
        found = dict.fromkeys(expected, b"")
        while turns:
            for group in list(turns):
                if (block := next(turns[group], None)) is None:
                    del turns[group]
                else:
                    found[group] += block
        assert found == expected


def test_blocks_read_back_are_bounded():
    with Spool[str](buffer_bytes=1) as spool:
        data = bytes(range(256)) * 16_384
        spool.append("a", data)
        blocks = list(spool.read("a"))
        assert max(map(len, blocks)) <= 2**20
        assert b"".join(blocks) == data


def test_a_group_that_is_not_there_is_empty():
    with Spool[str]() as spool:
        spool.append("empty", b"")
        assert (spool.size("none"), list(spool.read("none")), list(spool.read("empty"))) == (0, [], [])
        assert spool.groups() == ["empty"]


def test_the_limit_is_of_the_file():
    with Spool[str](buffer_bytes=100, limit_bytes=1_000) as spool:
        for _ in range(10):
            spool.append("a", b"x" * 100)
        assert spool.size("a") == 1_000
        spool.append("a", b"x")  # what is buffered does not count
        with pytest.raises(SpoolFull, match="1000 bytes"):
            spool.append("a", b"x" * 100)


def test_a_full_disk_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch):
    class Full:
        def writelines(self, _: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with Spool[str](buffer_bytes=1) as spool, pytest.raises(SpoolFull, match="No space left"):
        spool.append("a", b"xx")


def test_nothing_is_left_also_after_an_error(temporary: Path):
    process = psutil.Process()
    before = process.num_fds()
    for _ in range(20):
        with pytest.raises(RuntimeError), Spool[str](buffer_bytes=10) as spool:  # noqa: PT012 that is the case
            fill(spool)
            raise RuntimeError
    assert process.num_fds() == before
    assert list(temporary.iterdir()) == []


def test_memory_is_that_of_the_buffer():
    with Spool[int](buffer_bytes=1_000) as spool:
        for number in range(2_000):
            spool.append(number % 7, b"x" * 100)
            assert sum(sum(map(len, stored.buffered)) for stored in spool._groups.values()) <= 1_100
