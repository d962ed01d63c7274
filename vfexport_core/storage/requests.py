"""The threads that send one writer's requests.

Every request that changes something is sent by a thread of its own, also when the caller waits for it: an interrupt
(Dagster's is an exception raised in the main thread, anywhere) then ends the waiting, never a request half-way, and
cleaning up can wait until nothing is under way any more.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from vfexport_core.storage.target import aborted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from vfexport_core.storage.target import Answer, BucketTarget


class Requests:
    """Sends requests to `target` on at most `threads` threads, until `stop`."""

    def __init__(self, target: BucketTarget, threads: int) -> None:
        self.target = target
        self._threads = threads
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._under_way = 0
        self._pool: ThreadPoolExecutor | None = None

    def call(
        self,
        operation: str,
        params: Mapping[str, Any],
        *,
        before: Callable[[], None] | None = None,
        happened: Callable[[Exception], Answer | None] | None = None,
    ) -> Answer:
        """Send a request with retries (see `BucketTarget.call`) and wait for its answer.

        The caller's thread runs `before` and the waits between attempts, so that both can be interrupted.
        """

        def send() -> Answer:
            return self._submit(operation, lambda: self.target.send(operation, params)).result()

        return self.target.call(operation, params, stop=self._stop, before=before, happened=happened, send=send)

    def start(self, operation: str, params: Mapping[str, Any]) -> Future[Answer]:
        """Send a request with retries, without waiting for it."""
        return self._submit(operation, lambda: self.target.call(operation, params, stop=self._stop))

    def pause(self, attempt: int) -> None:
        """Wait as long as after a failed attempt, or until `stop`."""
        self._stop.wait(self.target.retry.wait_seconds(attempt))

    def stop(self) -> None:
        """Begin no request any more; those under way go on, those that wait for a retry end."""
        self._stop.set()
        self.rest()

    def rest(self) -> None:
        """Let idle threads end; the next request starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def settle(self, seconds: float) -> bool:
        """Wait until no request is under way; False when some still are after `seconds`."""
        with self._lock:
            return self._idle.wait_for(lambda: self._under_way == 0, seconds)

    def _submit(self, operation: str, work: Callable[[], Answer]) -> Future[Answer]:
        with self._lock:
            self._check(operation)
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="delivery")
            return self._pool.submit(self._count, operation, work)

    def _count(self, operation: str, work: Callable[[], Answer]) -> Answer:
        """Do the work, counted while it lasts.

        The working thread itself counts: a caller may be interrupted before it even learns that the work has begun.
        """
        with self._lock:
            self._check(operation)
            self._under_way += 1
        try:
            return work()
        finally:
            with self._lock:
                self._under_way -= 1
                self._idle.notify_all()

    def _check(self, operation: str) -> None:
        if self._stop.is_set():
            raise aborted(self.target.name, operation)
