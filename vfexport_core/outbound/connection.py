"""Connections that end in time, however slowly the other side speaks."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.client import HTTPConnection
from typing import Any, Self


class Deadline:
    """Breaks connections off whose time is over, as long as this is entered; leaves no thread behind."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._timers: list[threading.Timer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()
            timer.join()

    @property
    def is_over(self) -> bool:
        """Whether a connection was broken off: what it gave until then may look like an end."""
        return self._over.is_set()

    def begin(self, connection: socket.socket, seconds: float) -> None:
        """Break a connection off after so long; raises OSError when there is no thread to be had for it."""
        timer = threading.Timer(seconds, self._break_off, [connection])
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            raise OSError("no thread can be started to end the connection in time") from None
        self._timers.append(timer)

    def _break_off(self, connection: socket.socket) -> None:
        self._over.set()
        with contextlib.suppress(OSError):  # it has ended by itself
            connection.shutdown(socket.SHUT_RDWR)


class BoundedConnection(HTTPConnection):
    """Is broken off when its timeout has gone by since it was made; the timeout itself is for each block alone."""

    def __init__(self, deadline: Deadline, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadline = deadline

    def connect(self) -> None:
        super().connect()
        self._deadline.begin(self.sock, self.timeout or 0.0)
