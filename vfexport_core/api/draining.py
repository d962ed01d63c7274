"""Told to end (SIGTERM), a process goes on answering for a while, and says at once that it is not ready any more.

So whoever asks `/ready` to know where requests may go sends them elsewhere before this process takes no more. Then the
server ends as it does by itself: no new connections, requests at hand are answered. Ctrl-C ends it without the while.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Draining:
    """Whether this process has been told to end, `seconds` before it does."""

    seconds: float
    has_begun: bool = False

    @contextmanager
    def on_sigterm(self) -> Generator[None]:
        """Come before whoever handles SIGTERM now, for the block; told a second time, that one is called at once.

        To be entered on the server's event loop. Without seconds, or on another thread than the main one, which is
        told of no signals, nothing is changed.
        """
        handler = signal.getsignal(signal.SIGTERM)
        if not (self.seconds and callable(handler)) or threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def begin(number: int, frame: FrameType | None) -> None:
            if self.has_begun:
                handler(number, frame)
                return
            self.has_begun = True
            _log.info("told to end: not ready any more, answering for another %g s", self.seconds)
            loop.call_soon_threadsafe(loop.call_later, self.seconds, handler, number, None)

        signal.signal(signal.SIGTERM, begin)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, handler)
