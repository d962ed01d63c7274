"""How many documents a scan asks for at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from vfexport_core.sources import reply_size
from vfexport_core.sources.prefetch import Prefetch
from vfexport_core.sources.reply_size import ReplySize

if TYPE_CHECKING:
    import pytest

DOCUMENTS = 1_000
SMALL, LARGE = 2**20, 6 * 2**20


def after(size: ReplySize, *replies: tuple[int, bool]) -> int:
    """Return what is asked for after replies of so many bytes, each of which was waited for or not."""
    for reply, is_waited_for in replies:
        size.handed_on()
        if is_waited_for:
            size.note_wait()
        size.came(reply)
    return size.documents


def test_it_grows_when_two_replies_in_a_row_are_waited_for() -> None:
    late, in_time = (SMALL, True), (SMALL, False)
    assert after(ReplySize(DOCUMENTS), late, late) == 2 * DOCUMENTS
    assert after(ReplySize(DOCUMENTS), late, in_time, late, in_time, late) == DOCUMENTS


def test_it_grows_within_bounds() -> None:
    assert after(ReplySize(DOCUMENTS), *[(SMALL, True)] * 50) == 4 * DOCUMENTS
    assert after(ReplySize(DOCUMENTS), *[(LARGE, True)] * 50) == DOCUMENTS, "twice as much would be too many bytes"
    assert after(ReplySize(DOCUMENTS, grows=False), *[(SMALL, True)] * 50) == DOCUMENTS


def test_the_first_reply_is_always_waited_for() -> None:
    size = ReplySize(DOCUMENTS)
    size.note_wait()
    size.came(SMALL)
    assert after(size, (SMALL, True)) == DOCUMENTS


def test_what_is_waited_for_while_the_reply_before_is_handed_on_does_not_count() -> None:
    size = ReplySize(DOCUMENTS)
    for _ in range(10):
        size.note_wait()
        size.handed_on()
        size.came(SMALL)
    assert size.documents == DOCUMENTS


def test_a_server_that_is_at_work_is_not_asked_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_size, "_LONGEST_SECONDS", 0.0)
    assert after(ReplySize(DOCUMENTS), *[(SMALL, True)] * 10) == DOCUMENTS


def test_who_finds_nothing_read_ahead_says_so() -> None:
    waits: list[bool] = []
    with Prefetch([b"one"], threading.Event(), on_wait=lambda: waits.append(True)) as ahead:
        assert list(ahead) == [b"one"]
        waits.clear()
        assert ahead.poll() is None
        assert waits
