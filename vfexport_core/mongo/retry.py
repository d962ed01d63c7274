"""Which faults of MongoDB pass by themselves, and how they are retried; then they are called SourceUnavailable.

`with_retries` is for an operation that somebody waits for: it is tried for a bounded time. `ReadRetries` is for long
reads, which may fail a number of times in a row: any progress starts the count anew.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pymongo
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    CursorNotFound,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from vfexport_core.errors import SourceUnavailable, VfexportError
from vfexport_core.mongo.client import error_codes, is_dns_failure, unavailable
from vfexport_core.mongo.silence import Silences

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo import MongoClient
    from pymongo.collection import Collection

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_PAUSES = wait_exponential_jitter(
    multiplier=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS, jitter=_FIRST_PAUSE_SECONDS
)
# One hung connection must leave time for another try on a fresh one.
_TRY_SHARE = 0.4

_SILENCES = Silences()
_VALIDATION_FAILED = 121
_DUPLICATE = 11000
_REFUSED_HINT = (
    "Run `vfexport init` of the version that runs, so that the collection has its validator; if that does not help, "
    "report it as a bug."
)
# What a replica set answers while it elects a primary or shuts down, and what a busy server answers.
_PASSING = {
    "HostUnreachable": 6,
    "HostNotFound": 7,
    "LockTimeout": 24,
    "CursorNotFound": 43,
    "LockBusy": 46,
    "MaxTimeMSExpired": 50,
    "NetworkTimeout": 89,
    "ShutdownInProgress": 91,
    "WriteConflict": 112,
    "ConflictingOperationInProgress": 117,
    "FailedToSatisfyReadPreference": 133,
    "ReadConcernMajorityNotAvailableYet": 134,
    "CappedPositionLost": 136,
    "QueryPlanKilled": 175,
    "PrimarySteppedDown": 189,
    "CursorKilled": 237,
    "ExceededTimeLimit": 262,
    "ConnectionPoolExpired": 317,
    "TemporarilyUnavailable": 365,
    "SocketException": 9001,
    "NotWritablePrimary": 10107,
    "InterruptedAtShutdown": 11600,
    "InterruptedDueToReplStateChange": 11602,
    "StaleConfig": 13388,
    "NotPrimaryNoSecondaryOk": 13435,
    "NotPrimaryOrSecondary": 13436,
    "BackupCursorOpenConflictWithCheckpoint": 50915,
}
_PASSING_CODES = frozenset(_PASSING.values())
ATTEMPTS = 6
"""So often in a row may a read fail."""
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """For how long an operation is tried: `seconds`, but `silent_seconds` since MongoDB was heard last.

    A replica set that elects a primary, or a server that is being started again, says so at once, and whoever waits for
    it waits for something. One that says nothing may go on like that, and holds the thread that waits.
    """

    seconds: float
    silent_seconds: float | None = None

    @property
    def until_silent(self) -> float:
        return self.seconds if self.silent_seconds is None else min(self.silent_seconds, self.seconds)


DEFAULT_LIMITS = RetryLimits(10.0)
ELECTION_SECONDS = 12.0
"""How long a replica set is without a primary after one was lost, with its default settings: the median."""
WORKER_LIMITS = RetryLimits(40.0)
"""A worker's work is worth waiting for more than one election; its lease (`queue.lease`) is longer than this."""
CALLER_LIMITS = RetryLimits(15.0, silent_seconds=4.0)
"""Somebody waits for the answer: an election is waited out, silence is not."""


def with_retries(
    collection: Collection[Any], operation: Callable[[], T], limits: RetryLimits, *, name: str = "read or write"
) -> T:
    """Do `operation`, again after a passing fault, within `limits`; it must be harmless to do twice.

    A try that seemed to fail may have been applied: only its answer was lost. Raises SourceUnavailable naming
    `collection` and, as `name`, the operation; DuplicateKeyError as it is, for that is how the unique indexes speak;
    VfexportError when the validator refuses a document: it is another version's, or this is a bug of ours.
    """
    client = collection.database.client
    if limits.silent_seconds is not None and _SILENCES.spares(client, limits.silent_seconds):
        raise SourceUnavailable(f"MongoDB is silent, asked for collection {collection.name}", payload=collection.name)
    started = heard = time.monotonic()

    def try_once() -> T:
        # Also bounds a connection that swallows everything, whatever timeouts the client was made with.
        rest = min(limits.until_silent * _TRY_SHARE, started + limits.seconds - time.monotonic())
        with pymongo.timeout(max(rest, _FIRST_PAUSE_SECONDS)):
            return operation()

    def is_over(state: RetryCallState) -> bool:
        nonlocal heard
        next_try = time.monotonic() + state.upcoming_sleep
        is_silent = _is_silence(_error_of(state), client)
        if not is_silent:
            heard = next_try  # it refuses, as one that is being started: then its first answers are slow
        return next_try - started >= limits.seconds or (is_silent and next_try - heard >= limits.until_silent)

    try:
        result = Retrying(retry=retry_if_exception(_may_pass), stop=is_over, wait=_PAUSES, reraise=True)(try_once)
    except DuplicateKeyError:
        raise
    except PyMongoError as error:
        if _VALIDATION_FAILED in error_codes(error):
            # The driver's message repeats the whole document; not even the chain may carry it into a log.
            message = f"collection {collection.name} ({name}): the validator refused a document"
            raise VfexportError(message, payload=collection.name, hint=_REFUSED_HINT) from None
        if _is_silence(error, client):
            _SILENCES.begin(client)
        raise unavailable(collection.name, error, name) from error
    _SILENCES.end(client)
    return result


def _error_of(state: RetryCallState) -> PyMongoError:
    error = None if state.outcome is None else state.outcome.exception()
    assert isinstance(error, PyMongoError), "nothing else is tried again"
    return error


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, PyMongoError) and is_passing(error)


def is_passing(error: PyMongoError) -> bool:
    """Return whether the same operation may succeed when it is sent again.

    Also a write concern that was not met in time: the write is there, doing it again waits for it again.
    """
    if isinstance(error, (ConnectionFailure, CursorNotFound, ExecutionTimeout, WriteConcernError)):
        return True
    if isinstance(error, BulkWriteError):
        # What an earlier try has written is in nobody's way.
        refused = {problem.get("code") for problem in error.details["writeErrors"]} - {_DUPLICATE}
        return refused <= _PASSING_CODES and not has_only_duplicates(error)
    codes = error_codes(error)
    return bool(codes & _PASSING_CODES) or error.has_error_label("RetryableWriteError") or is_dns_failure(error)


def has_only_duplicates(error: BulkWriteError) -> bool:
    """Return whether nothing failed but writes of what is there already, and all the others are acknowledged."""
    duplicates = all(problem["code"] == _DUPLICATE for problem in error.details["writeErrors"])
    return duplicates and not error.details["writeConcernErrors"]


def _is_silence(error: PyMongoError, client: MongoClient[Any]) -> bool:
    """Whether nothing was heard: no answer in time, and no server that answers, if only to refuse."""
    if not isinstance(error, ServerSelectionTimeoutError):
        return error.timeout
    topology = client.topology_description
    refusals = [server.error for server in topology.server_descriptions().values() if server.error is not None]
    return not topology.has_known_servers and all(isinstance(refusal, NetworkTimeout) for refusal in refusals)


@dataclass(slots=True)
class ReadRetries:
    """How often in a row a read of `collection` may fail; any progress starts the count anew.

    `stop` is set when nobody waits for the result any more: then no retry is made. The error names
    the `operation`.
    """

    collection: str
    stop: threading.Event = field(default_factory=threading.Event)
    operation: str = "read"
    attempts: int = ATTEMPTS
    failures: int = 0

    def progressed(self) -> None:
        self.failures = 0

    def failed(self, error: PyMongoError) -> None:
        """Wait before the next try; raises SourceUnavailable when there is none."""
        self.failures += 1
        if not is_passing(error) or self.failures >= self.attempts or self.stop.is_set():
            raise unavailable(self.collection, error, self.operation) from error
        wait = min(_FIRST_WAIT_SECONDS * 2 ** (self.failures - 1), _LONGEST_WAIT_SECONDS)
        _log.warning(
            "reading %s failed (%s), try %d of %d follows",
            self.collection,
            type(error).__name__,
            self.failures + 1,
            self.attempts,
        )
        self.stop.wait(wait * random.uniform(0.5, 1.0))  # noqa: S311 jitter, not a secret


def retry_read(read: Callable[[], T], retries: ReadRetries) -> T:
    """Repeat an idempotent read until it succeeds; raises SourceUnavailable when it has failed too often."""
    while True:
        try:
            result = read()
        except PyMongoError as error:
            retries.failed(error)
        else:
            retries.progressed()
            return result
