"""Callers are not kept waiting for a MongoDB that is known to say nothing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from pymongo import MongoClient

REST_SECONDS = 2.0
"""For so long after a silence nobody asks: 503 says when to come again."""


class Silences:
    """Which clients' servers were silent of late; shared by all threads."""

    def __init__(self) -> None:
        self._until: WeakKeyDictionary[MongoClient[Any], float] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def spares(self, client: MongoClient[Any], probe_seconds: float) -> bool:
        """Return whether to give up at once; when the rest is over one caller asks, others wait for what it hears."""
        with self._lock:
            until, now = self._until.get(client), time.monotonic()
            if until is None or now < until:
                return until is not None
            self._until[client] = now + probe_seconds
            return False

    def begin(self, client: MongoClient[Any]) -> None:
        """Note that nothing was heard."""
        with self._lock:
            self._until[client] = time.monotonic() + REST_SECONDS

    def end(self, client: MongoClient[Any]) -> None:
        """Note that something was heard."""
        with self._lock:
            self._until.pop(client, None)
