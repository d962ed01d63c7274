"""A server that takes webhooks, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import SecretStr

from tests.http_server import serving
from vfexport_core.settings import WebhookSettings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver(ThreadingHTTPServer):
    """Answers with `statuses` in turn, then with 200, each with `answer_headers`.

    With `trickle` it sends that again and again and never comes to an end, until it is `broken_off`. `on_request` is
    called before it answers.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.statuses: list[int] = []
        self.answer_headers: dict[str, str] = {}
        self.trickle: bytes | None = None
        self.broken_off = threading.Event()
        self.on_request: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/one?key=k1"

    @property
    def ids(self) -> list[str]:
        return [request.id for request in self.received]

    def settings(self, **fields: Any) -> WebhookSettings:
        """Return a webhook that posts here."""
        given = {"url": self.url, "secrets": [SECRET], "allow_http": True, "allow_private": True} | fields
        return webhook(**given)


def webhook(url: str = "https://hooks.example.org/x", secrets: Any = (SECRET,), **fields: Any) -> WebhookSettings:
    return WebhookSettings(url=SecretStr(url), secrets=tuple(map(SecretStr, secrets)), **fields)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append(Received(self.path, headers, body))
        if self.server.on_request is not None:
            self.server.on_request()
        if self.server.trickle is not None:
            self._trickle(self.server.trickle)
            return
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        for name, value in self.server.answer_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _trickle(self, block: bytes) -> None:
        self.close_connection = True
        try:
            for _ in range(3_000):  # many times as long as anybody would wait
                self.wfile.write(block)
                time.sleep(0.01)
        except ConnectionError:
            self.server.broken_off.set()

    def log_message(self, *_: Any) -> None:
        pass


def receiving() -> AbstractContextManager[Receiver]:
    return serving(Receiver())
