"""Doing several things at once, in threads that work for the same request as the one that waits for them."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

# No more than the connections that a client of S3 keeps.
_AT_ONCE = 8


def at_once(function: Callable[[Item], Result], items: Sequence[Item], *, most: int = _AT_ONCE) -> list[Result]:
    """Call `function` for every item, up to `most` at a time, and give the results in the order of the items.

    Once one has failed no other is begun; raises what it raised, after those under way have ended.
    """
    if len(items) <= 1:
        return [function(item) for item in items]
    over = threading.Event()

    def call(item: Item) -> Result:
        if over.is_set():
            raise CancelledError
        try:
            return function(item)
        except BaseException:
            over.set()
            raise

    with ThreadPoolExecutor(min(most, len(items))) as pool:
        calls = [pool.submit(contextvars.copy_context().run, call, item) for item in items]
        try:
            wait(calls)
        finally:
            over.set()  # whoever waits may be interrupted
    for error in (one.exception() for one in calls):
        if error is not None and not isinstance(error, CancelledError):
            raise error
    return [one.result() for one in calls]
