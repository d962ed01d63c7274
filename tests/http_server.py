"""Running a small HTTP server beside a test."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import HTTPServer

S = TypeVar("S", bound="HTTPServer")


@contextmanager
def serving(server: S) -> Iterator[S]:
    """Let `server` answer on a thread of its own for a block, and close it afterwards."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
