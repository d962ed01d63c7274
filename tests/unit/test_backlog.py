"""Writing to something that may be away."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from vfexport_core.telemetry import backlog as module
from vfexport_core.telemetry.backlog import Backlog

if TYPE_CHECKING:
    import pytest

SECONDS = 60


class Storage:
    """Takes what is written as long as it is up."""

    def __init__(self) -> None:
        self.up, self.written = threading.Event(), list[str]()
        self.up.set()

    def write(self, text: str) -> None:
        if not self.up.is_set():
            raise OSError("away")
        self.written.append(text)


def test_items_keep_their_order_and_none_is_lost() -> None:
    storage = Storage()
    backlog = Backlog("it", storage.write, retry_seconds=0.01)
    backlog.put("1")
    storage.up.clear()
    for text in "23456":
        backlog.put(text)
    assert storage.written == ["1"]
    storage.up.set()
    backlog.put("7", is_last=True)
    assert storage.written == list("1234567")


def test_the_last_item_is_not_waited_for_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    storage = Storage()
    storage.up.clear()
    Backlog("it", storage.write, retry_seconds=0.01, last_seconds=0.1).put("1", is_last=True)
    assert "it did not take the last" in caplog.text
    storage.up.set()


def test_other_threads_never_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them keeps the export's lease."""
    monkeypatch.setattr(module, "PROMPT_SECONDS", SECONDS)
    held = threading.Event()
    backlog = Backlog[str]("it", lambda _: held.wait(SECONDS))
    beating = threading.Thread(target=lambda: [backlog.put(text) for text in "123"])
    beating.start()
    beating.join(SECONDS / 2)
    assert not beating.is_alive()
    held.set()


def test_what_is_not_needed_is_left_out_before_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    storage = Storage()
    storage.up.clear()
    backlog = Backlog("it", storage.write, retry_seconds=0.01)
    for number in range(10):
        backlog.put(f"line {number}", is_needed=False)
    backlog.put("an event")
    storage.up.set()
    backlog.put("the end", is_last=True)
    assert storage.written == ["line 0", "line 1", "line 2", "an event", "the end"]
    assert "7 log lines were left out" in caplog.text
