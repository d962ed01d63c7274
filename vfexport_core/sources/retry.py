"""Which MongoDB faults pass by themselves, and how long to wait for that."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pymongo.errors import (
    AutoReconnect,
    CursorNotFound,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from vfexport_core.sources.client import is_dns_failure, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# What a replica set answers while it elects a primary or shuts down, and what a busy server answers.
_PASSING_CODES = frozenset(
    {
        6,
        7,
        43,
        89,
        91,
        112,
        133,
        134,
        136,
        175,
        189,
        237,
        262,
        317,
        365,
        9001,
        10107,
        11600,
        11602,
        13388,
        13435,
        13436,
        50915,
    }
)
ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 5.0


def is_passing(error: PyMongoError) -> bool:
    """Tell whether the same read may succeed when it is sent again."""
    if isinstance(error, (AutoReconnect, NetworkTimeout, CursorNotFound, ExecutionTimeout, WaitQueueTimeoutError)):
        return True
    return is_dns_failure(error) or (isinstance(error, OperationFailure) and error.code in _PASSING_CODES)


@dataclass(slots=True)
class Patience:
    """How often in a row a read of `collection` may fail; any progress starts the count anew.

    `stop` is set when nobody waits for the result any more: then no retry is made.
    """

    collection: str
    stop: threading.Event = field(default_factory=threading.Event)
    attempts: int = ATTEMPTS
    failures: int = 0

    def progressed(self) -> None:
        self.failures = 0

    def failed(self, error: PyMongoError) -> None:
        """Wait before the next try; raises SourceUnavailable when there is none."""
        self.failures += 1
        if not is_passing(error) or self.failures >= self.attempts or self.stop.is_set():
            raise unavailable(self.collection, error) from error
        wait = min(_FIRST_WAIT_SECONDS * 2 ** (self.failures - 1), _LONGEST_WAIT_SECONDS)
        _log.warning(
            "reading %s failed (%s), try %d of %d follows",
            self.collection,
            type(error).__name__,
            self.failures + 1,
            self.attempts,
        )
        self.stop.wait(wait * random.uniform(0.5, 1.0))  # noqa: S311 jitter, not a secret


def persistently(read: Callable[[], _Result], patience: Patience) -> _Result:
    """Repeat an idempotent read until it succeeds; raises SourceUnavailable when patience ends."""
    while True:
        try:
            result = read()
        except PyMongoError as error:
            patience.failed(error)
        else:
            patience.progressed()
            return result
