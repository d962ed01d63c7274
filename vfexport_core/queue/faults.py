"""Patience with MongoDB: passing faults are tried again for a bounded time, then called SourceUnavailable."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import pymongo
from pymongo.errors import (
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)

from vfexport_core.errors import VfexportError
from vfexport_core.sources.client import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
# One hung connection must leave time for another try on a fresh one.
_TRY_SHARE = 0.4

_VALIDATION_FAILED = 121
# Server errors that pass by themselves: elections, shutdowns, lock and write conflicts, catalog changes by others.
_PASSING_CODES = frozenset({6, 7, 24, 46, 89, 91, 112, 117, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})


def persist(collection: str, operation: Callable[[], T], seconds: float) -> T:
    """Do `operation`, again after a passing fault, for `seconds` at most; it must be harmless to do twice.

    A try that seemed to fail may have been applied: only its answer was lost. Raises SourceUnavailable naming
    `collection`; DuplicateKeyError as it is, for that is how the unique indexes speak; VfexportError (a bug of ours)
    when the validator refuses the document.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            # Also bounds a connection that swallows everything, whatever timeouts the client was made with.
            with pymongo.timeout(max(min(seconds * _TRY_SHARE, deadline - time.monotonic()), _FIRST_PAUSE_SECONDS)):
                return operation()
        except DuplicateKeyError:
            raise
        except PyMongoError as error:
            if _code(error) == _VALIDATION_FAILED:
                # The driver's message repeats the whole document; not even the chain may carry it into a log.
                raise VfexportError(
                    f"collection {collection}: the validator refused a document", payload=collection
                ) from None
            if not _is_passing(error) or time.monotonic() + pause >= deadline:
                raise unavailable(collection, error) from error
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _is_passing(error: PyMongoError) -> bool:
    # A write concern that was not met in time: the write is there, doing it again waits for it again.
    if isinstance(error, (ConnectionFailure, ExecutionTimeout, WriteConcernError)):
        return True
    return _code(error) in _PASSING_CODES or error.has_error_label("RetryableWriteError")


def _code(error: PyMongoError) -> int | None:
    return error.code if isinstance(error, OperationFailure) else None
