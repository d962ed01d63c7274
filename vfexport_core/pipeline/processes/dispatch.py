"""Who has which batch of a scan, and what became of it until its turn comes."""

from __future__ import annotations

import heapq
import threading
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfexport_core.errors import VfexportError
    from vfexport_core.files.grouping import EncodedBatch
    from vfexport_core.sources.prefetch import Prefetch


@dataclass(frozen=True, slots=True)
class Numbered:
    """A raw batch and its place in the scan."""

    number: int
    raw: bytes


class Step(Enum):
    """What the run's own process does next, when it is not to transform a batch: yield one, go on, or end."""

    YIELD = auto()
    GO_ON = auto()
    END = auto()


class Dispatcher:
    """Hands out the raw batches of one scan in their order, and keeps what they became in this order.

    A raw batch is kept until what it became is back; of a process that is lost it is given back, and goes to the run's
    own. What is kept (raw batches that are out, and results before their turn) comes to `limit_bytes` at most, and
    the last batch that was taken: the one that all others wait for can always be.

    The run's own process calls `next_step`, `take_own` and `pop`; a thread per format process all the rest.
    """

    def __init__(self, raw: Prefetch, limit_bytes: int) -> None:
        self._raw = raw
        self._limit_bytes = limit_bytes
        self._changed = raw.changed
        self._next_number = 0
        self._turn = 0
        self._out: dict[int, bytes] = {}
        self._returned: list[int] = []
        self._done: dict[int, tuple[EncodedBatch | VfexportError, int]] = {}
        self._kept_bytes = 0
        self._closed = threading.Event()

    @property
    def out(self) -> frozenset[int]:
        """The numbers of the batches that were taken and have not come back."""
        with self._changed:
            return frozenset(self._out)

    def close(self) -> None:
        """Hand out no more batches."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()

    def take(self, *, wait: bool) -> Numbered | None:
        """Return the next raw batch; None when there is none (with `wait`: and none will come)."""
        with self._changed:
            while True:
                item = self._take_next()
                if item is not None or not wait or self._closed.is_set() or self._raw.has_ended:
                    return item
                self._changed.wait()

    def take_own(self) -> Numbered | None:
        """Return a batch that a lost process has left, else the next one; None when there is none just now."""
        with self._changed:
            if not self._returned:
                return self._take_next()
            number = heapq.heappop(self._returned)
            return Numbered(number, self._out[number])

    def put(self, number: int, result: EncodedBatch | VfexportError, size: int) -> None:
        """Take what a batch became, of `size` bytes: rows, or the error that ends the export when its turn comes."""
        with self._changed:
            self._kept_bytes += size - len(self._out.pop(number))
            self._done[number] = result, size
            self._changed.notify_all()

    def give_back(self, numbers: Iterable[int]) -> None:
        """Have batches of a lost process done again."""
        with self._changed:
            for number in numbers:
                heapq.heappush(self._returned, number)
            self._changed.notify_all()

    def next_step(self, *, busy: bool) -> Step | Numbered:
        """Wait until there is something to do, and return what: a batch to begin is taken already.

        `busy` says that the run's own process has begun batches which it has not finished: it goes on with these when
        the batch whose turn it is has not come back and there is none to begin. Raises what the scan has raised, when
        all batches before that have been popped.
        """
        with self._changed:
            while True:
                if self._turn in self._done:
                    return Step.YIELD
                if self._turn == self._next_number and self._raw.has_ended:
                    self._raw.check()
                    return Step.END
                item = self.take_own()
                if item is not None:
                    return item
                if busy:
                    return Step.GO_ON
                self._changed.wait()

    def pop(self) -> EncodedBatch:
        """Return the batch whose turn it is; raises the error that its process met."""
        with self._changed:
            result, size = self._done.pop(self._turn)
            self._turn += 1
            self._kept_bytes -= size
            self._changed.notify_all()
        if isinstance(result, Exception):
            raise result
        return result

    def _take_next(self) -> Numbered | None:
        # When the turn is that of the batch to be taken, all before it were popped, and nothing is kept.
        if self._closed.is_set() or self._kept_bytes >= self._limit_bytes:
            return None
        raw = self._raw.poll()
        if raw is None:
            return None
        item = Numbered(self._next_number, raw)
        self._next_number += 1
        self._out[item.number] = raw
        self._kept_bytes += len(raw)
        return item
