"""When a bucket hangs: it is asked, and nothing succeeds."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class StallClock:
    """How long one bucket has been asked, by all threads together, since the last request that succeeded.

    It runs while at least one request is under way or waits for its next try, so that time in which nothing is asked
    (MongoDB is slow, say) does not count.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._asking = 0
        self._since = 0.0
        self._spent = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the bucket has to be given up."""
        with self._lock:
            running = self._clock() - self._since if self._asking else 0.0
            return self._spent + running >= self.seconds

    @contextmanager
    def asking(self) -> Generator[None]:
        """Count the block as time in which the bucket is asked."""
        with self._lock:
            if not self._asking:
                self._since = self._clock()
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    self._spent += self._clock() - self._since

    def succeeded(self) -> None:
        """Begin anew: the bucket did what it was asked for."""
        with self._lock:
            self._spent, self._since = 0.0, self._clock()
