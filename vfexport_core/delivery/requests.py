"""The threads that send one writer's requests.

Every request that changes something is sent by a thread of its own, also when the caller waits for it: an interrupt
(Dagster's is an exception raised in the main thread, anywhere) then ends the waiting, never a request half-way, and
cleaning up can wait until nothing is under way any more.
"""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any

from vfexport_core.delivery.target import aborted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from vfexport_core.delivery.target import Answer, BucketTarget


class Requests:
    """Sends requests to `target` on at most `threads` threads, until `stop`."""

    def __init__(self, target: BucketTarget, threads: int) -> None:
        self.target = target
        self._threads = threads
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._running: set[Future[Answer]] = set()

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
            running = list(self._running)
        return not concurrent.futures.wait(running, seconds).not_done

    def _submit(self, operation: str, work: Callable[[], Answer]) -> Future[Answer]:
        with self._lock:
            if self._stop.is_set():
                raise aborted(self.target.name, operation)
            if self._pool is None:
                self._pool = concurrent.futures.ThreadPoolExecutor(self._threads, thread_name_prefix="delivery")
            future = self._pool.submit(work)
            self._running.add(future)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Future[Answer]) -> None:
        with self._lock:
            self._running.discard(future)
