"""Reads ahead on a thread of its own, so that the network and the processor work at the same time."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

AHEAD_BYTES = 12 * 2**20


class Prefetch:
    """Iterates over `blocks`, which a thread reads ahead: at most `ahead_bytes` (and always one block) wait here.

    An error of the source is raised to the consumer in its place in the order. Leaving the context ends the thread;
    `stop` tells the source that nobody waits for it any more, and `on_wait` is called when somebody does.
    """

    def __init__(
        self,
        blocks: Iterable[bytes],
        stop: threading.Event,
        ahead_bytes: int = AHEAD_BYTES,
        on_wait: Callable[[], object] = lambda: None,
    ) -> None:
        self._on_wait = on_wait
        self._blocks = blocks
        self._stop = stop
        self._ahead_bytes = ahead_bytes
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._ended = False
        self._error: BaseException | None = None
        self.changed = threading.Condition()
        """Notified when a block comes or goes, and when there will be no more; consumers may use it for more."""
        self._thread = threading.Thread(target=self._fill, name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self.changed:
            self._stop.set()
            self.changed.notify_all()
        self._thread.join()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self.changed:
                while (block := self.poll()) is None:
                    if self.has_ended:
                        self.check()
                        return
                    self.changed.wait()
            yield block

    @property
    def has_ended(self) -> bool:
        """Whether no block waits, and none will come."""
        return self._ended and not self._waiting

    def poll(self) -> bytes | None:
        """Return the next block, for one consumer of several; None when there is none just now."""
        with self.changed:
            if not self._waiting:
                self._on_wait()
                return None
            block = self._waiting.popleft()
            self._waiting_bytes -= len(block)
            self.changed.notify_all()
            return block

    def check(self) -> None:
        """Raise what the source has raised; to be called when all its blocks were consumed."""
        if self._error is not None:
            raise self._error

    def _fill(self) -> None:
        try:
            for block in self._blocks:
                if not self._put(block):
                    break
        except BaseException as error:  # noqa: BLE001 it is raised again on the consumer's thread
            self._error = error
        finally:
            with self.changed:
                self._ended = True
                self.changed.notify_all()

    def _put(self, block: bytes) -> bool:
        with self.changed:
            self.changed.wait_for(
                lambda: self._stop.is_set() or not self._waiting or self._waiting_bytes < self._ahead_bytes
            )
            if self._stop.is_set():
                return False
            self._waiting.append(block)
            self._waiting_bytes += len(block)
            self.changed.notify_all()
            return True
