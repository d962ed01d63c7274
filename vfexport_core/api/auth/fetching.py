"""Fetching a small document from a server that may be slow, or never come to an end."""

from __future__ import annotations

import contextlib
import socket
import threading
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, build_opener

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.request import Request

LARGEST = 512 * 1024


def fetch(url: str, seconds: float) -> bytes:
    """Return the document at an http(s) address; redirects are not followed.

    Connecting may take `seconds`, and so may all that follows, however it trickles. Raises OSError, and ValueError for
    what is no HTTP or larger than `LARGEST`.
    """
    overdue = threading.Event()
    try:
        with build_opener(_Handler(overdue), _NoRedirects()).open(url, timeout=seconds) as response:
            document = response.read(LARGEST + 1)
    except HTTPError as error:
        error.close()
        raise
    except HTTPException as error:
        raise ValueError(f"not HTTP: {type(error).__name__}") from error
    if overdue.is_set():  # without a length its end looks like any other
        raise TimeoutError
    if len(document) > LARGEST:
        raise ValueError(f"larger than {LARGEST} bytes")
    return document


class _BrokenOff(HTTPConnection):
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


class _EncryptedBrokenOff(_BrokenOff, HTTPSConnection):
    pass


class _Handler(HTTPHandler, HTTPSHandler):
    def __init__(self, overdue: threading.Event) -> None:
        super().__init__()
        self._overdue = overdue

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_BrokenOff, self._overdue), req)

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_EncryptedBrokenOff, self._overdue), req)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
