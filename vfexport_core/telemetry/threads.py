"""Doing several things at once, in threads that work for the same request as the one that waits for them."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

# No more than the connections that a client of S3 keeps.
_AT_ONCE = 8


def at_once(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call `function` for every item, several at a time, and give the results in the order of the items.

    Raises what the first of them (in that order) raised, after all have ended.
    """
    if len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(_AT_ONCE, len(items))) as pool:
        calls = [pool.submit(contextvars.copy_context().run, function, item) for item in items]
    return [call.result() for call in calls]
