"""Fetching a small document from a server that may be slow, or never come to an end."""

from __future__ import annotations

from functools import partial
from http.client import HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, build_opener

from vfexport_core.outbound.connection import BoundedConnection, Deadline

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.request import Request

LARGEST = 512 * 1024


def fetch(url: str, seconds: float) -> bytes:
    """Return the document at an http(s) address; redirects are not followed.

    Connecting may take `seconds`, and so may all that follows, however it trickles. Raises OSError, and ValueError for
    what is no HTTP or larger than `LARGEST`.
    """
    try:
        with (
            Deadline() as deadline,
            build_opener(_Handler(deadline), _NoRedirects()).open(url, timeout=seconds) as response,
        ):
            document = response.read(LARGEST + 1)
    except HTTPError as error:
        error.close()
        raise
    except HTTPException as error:
        raise ValueError(f"not HTTP: {type(error).__name__}") from error
    if deadline.is_over:  # without a length its end looks like any other
        raise TimeoutError
    if len(document) > LARGEST:
        raise ValueError(f"larger than {LARGEST} bytes")
    return document


class _EncryptedConnection(BoundedConnection, HTTPSConnection):
    pass


class _Handler(HTTPHandler, HTTPSHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(BoundedConnection, self._deadline), req)

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_EncryptedConnection, self._deadline), req)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
