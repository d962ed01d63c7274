"""Writing in order to something that may be away: what there is to write waits for it, and whoever writes does not."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from vfexport_core.telemetry.logs import FIELDS_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PROMPT_SECONDS = 2.0
"""How long `put` waits for an item to be written, while what it is written to takes what it is given."""
LAST_SECONDS = 300.0
"""How long it waits for the last item, and so for all before it."""
RETRY_SECONDS = 1.0
MOST_WAITING = 2_000
"""Of more that wait, those that need not be written are left out."""

_log = logging.getLogger(__name__)


class Backlog(Generic[T]):
    """Writes items in their order, in a thread of its own, each again and again until it is written.

    `name` says in the log what is written to. The thread that made it waits for what it puts, but not for long, and not
    at all while what was put before still waits; other threads never wait.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[T], object],
        *,
        retry_seconds: float = RETRY_SECONDS,
        last_seconds: float = LAST_SECONDS,
    ) -> None:
        self._name = name
        self._write = write
        self._retry_seconds = retry_seconds
        self._last_seconds = last_seconds
        self._owner = threading.current_thread()
        self._waiting: deque[tuple[T, threading.Event]] = deque()
        self._changed = threading.Condition()
        self._is_behind = False
        self._is_failing = False
        self._dropped = 0
        threading.Thread(target=self._run, name="backlog", daemon=True).start()

    def put(self, item: T, *, is_needed: bool = True, is_last: bool = False) -> None:
        """Take an item; the last one is waited for, since the process may end behind it."""
        written = threading.Event()
        with self._changed:
            if len(self._waiting) >= MOST_WAITING and not is_needed:
                self._dropped += 1
                return
            self._waiting.append((item, written))
            self._changed.notify()
        if threading.current_thread() is not self._owner:
            return
        if is_last:
            if not written.wait(self._last_seconds):
                _log.error("%s did not take the last that there was to write", self._name)
        elif not (self._is_behind or written.wait(PROMPT_SECONDS)):
            self._is_behind = True

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                item, written = self._waiting[0]
            try:
                self._write(item)
            except Exception as error:  # noqa: BLE001 whatever it is, the work goes before its log
                self._note_failure(error)
                time.sleep(self._retry_seconds)
                continue
            self._note_success()
            with self._changed:
                self._waiting.popleft()
                self._is_behind = self._is_behind and bool(self._waiting)
            written.set()

    def _note_failure(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = self._is_behind = True
            about = {"exception": type(error).__name__}  # its text may hold an address
            _log.warning("%s takes nothing; what there is to write waits", self._name, extra={FIELDS_KEY: about})

    def _note_success(self) -> None:
        if self._is_failing:
            self._is_failing = False
            _log.warning("%s takes what is written again; %d log lines were left out", self._name, self._dropped)
