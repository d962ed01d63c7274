"""Readiness: is the database set up, and do it and every configured bucket answer; asked in parallel, time-bounded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pymongo

from vfexport_core.errors import BucketHangs, SourceUnavailable
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.queue.breakers import BucketBreakers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pymongo.database import Database

    from vfexport_core.queue.breakers import OpenBreaker
    from vfexport_core.storage.buckets import BucketClients

_log = logging.getLogger(__name__)

READY_SECONDS = 2.0
SCHEMA = "schema"
"""The check that `vfexport init` was run."""
MONGODB = "mongodb"
ESSENTIAL = frozenset({MONGODB, SCHEMA})
"""The checks without which no request can be served; the others are of buckets."""
_PARTS_FOR_BREAKERS = 4
# Strangers may ask, as often as they like.
_FRESH_SECONDS = 2.0

Outcome: TypeAlias = Literal["ok", "failed", "timeout"]


class Readiness:
    """Runs the checks on threads of its own; who asks while one runs, or just after it began, shares its outcome."""

    def __init__(
        self,
        checks: Mapping[str, Callable[[], object]],
        *,
        timeout_seconds: float = READY_SECONDS,
        fresh_seconds: float = _FRESH_SECONDS,
    ) -> None:
        self._checks = dict(checks)
        self._timeout_seconds = timeout_seconds
        self._fresh_seconds = fresh_seconds
        self._pool = ThreadPoolExecutor(max(1, len(checks)), thread_name_prefix="ready")
        self._latest: dict[str, tuple[Future[Outcome], float]] = {}

    def begin(self) -> None:
        """Begin every check; `outcomes` then waits for these."""
        for name in self._checks:
            self._start(name)

    async def outcomes(self) -> dict[str, Outcome]:
        """Return each check's outcome; a check that still hangs from an earlier call is waited for, not begun again."""
        pending = {name: asyncio.wrap_future(self._start(name)) for name in self._checks}
        if pending:
            await asyncio.wait(pending.values(), timeout=self._timeout_seconds)
        return {name: future.result() if future.done() else "timeout" for name, future in pending.items()}

    def close(self) -> None:
        """Wait for the checks that run, which is not long, so that none uses a client that is closed next."""
        self._pool.shutdown(cancel_futures=True)

    def _start(self, name: str) -> Future[Outcome]:
        if name in self._latest:
            latest, begun = self._latest[name]
            if not latest.done() or time.monotonic() - begun < self._fresh_seconds:
                return latest
        started = self._pool.submit(self._run, name)
        self._latest[name] = started, time.monotonic()
        return started

    def _run(self, name: str) -> Outcome:
        try:
            self._checks[name]()
        except Exception as error:  # noqa: BLE001 whatever fails, the answer is that it does not work
            _log.warning("%s is not ready: %s", name, type(error).__name__)
            return "failed"
        return "ok"


class _Hanging:
    """Knows the buckets that hang, looked up once for all who ask within a moment."""

    def __init__(self, breakers: BucketBreakers) -> None:
        self._breakers = breakers
        self._lock = threading.Lock()
        self._found: Mapping[str, OpenBreaker] = {}
        self._until = 0.0

    def check(self, bucket: str) -> None:
        """Raise BucketHangs when exports into the bucket wait, by what was known last where MongoDB does not answer.

        That it does not is for its own check to say: nothing is wrong with the bucket.
        """
        with self._lock:
            if time.monotonic() >= self._until:
                with contextlib.suppress(SourceUnavailable):
                    self._found = self._breakers.all_open()
                self._until = time.monotonic() + _FRESH_SECONDS / 2
        if bucket in self._found:
            raise BucketHangs(str(self._found[bucket]), payload=bucket)


def service_checks(
    database: Database[dict[str, Any]],
    buckets: BucketClients,
    check_initialised: Callable[[RetryLimits], object],
    seconds: float,
) -> dict[str, Callable[[], object]]:
    """Return the checks of MongoDB and its `SCHEMA` (for at most `seconds`), and of each bucket that is configured."""

    def ping() -> None:
        with pymongo.timeout(seconds):
            database.command("ping")

    # A part of the time, so that the buckets' own answers come within it when MongoDB's does not.
    hanging = _Hanging(BucketBreakers(database, RetryLimits(seconds / _PARTS_FOR_BREAKERS)))

    def bucket_check(bucket: str) -> Callable[[], object]:
        def check() -> None:
            buckets.check(bucket)
            hanging.check(bucket)  # one that hangs for exports may answer a mere question

        return check

    def schema() -> None:
        with pymongo.timeout(seconds):
            check_initialised(RetryLimits(seconds))  # not what a caller waits: whoever ends this process waits for it

    return {MONGODB: ping, SCHEMA: schema, **{bucket: bucket_check(bucket) for bucket in buckets.configured}}
