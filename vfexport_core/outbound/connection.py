"""Connections that end in time, however slowly the other side speaks."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.client import HTTPConnection
from typing import Any


class BoundedConnection(HTTPConnection):
    """Is broken off when its timeout has gone by since it was made; the timeout itself is for each block alone."""

    def __init__(self, overdue: threading.Event, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._overdue = overdue

    def connect(self) -> None:
        super().connect()
        timer = threading.Timer(self.timeout or 0.0, self._break_off, [self.sock])
        timer.daemon = True
        timer.start()

    def _break_off(self, connection: socket.socket) -> None:
        self._overdue.set()
        with contextlib.suppress(OSError):  # it has ended by itself
            connection.shutdown(socket.SHUT_RDWR)
