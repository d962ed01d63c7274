"""A server that publishes a JWKS, for tests of whoever fetches one."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.http_server import serving

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def published(key: Any, kid: str | None, **fields: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    entry = json.loads(algorithm.to_jwk(key.public_key())) | fields
    return entry if kid is None else entry | {"kid": kid}


class KeyServer(ThreadingHTTPServer):
    """Publishes `body`; counts the fetches, and lets them wait for `gate`.

    With `endless`, the beginning of an answer, it sends that and then `block` again and again, with a `pause` after
    each, until it is `broken_off`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), KeyHandler)
        self.body: bytes = b""
        self.status = 200
        self.fetches = 0
        self.gate = threading.Event()
        self.gate.set()
        self.endless: bytes | None = None
        self.block, self.pause = b" ", 0.02
        self.sent = 0
        self.broken_off = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/keys"

    def publish(self, *entries: Any) -> None:
        self.body = json.dumps({"keys": entries}).encode()


class KeyHandler(BaseHTTPRequestHandler):
    server: KeyServer

    def do_GET(self) -> None:
        self.server.fetches += 1
        assert self.server.gate.wait(60)
        if self.server.endless is not None:
            self._send_endlessly(self.server.endless)
            return
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def _send_endlessly(self, begun: bytes) -> None:
        try:
            self.wfile.write(begun)
            while self.server.sent < 2**26:  # many times what anybody would take
                self.wfile.write(self.server.block)
                self.server.sent += len(self.server.block)
                time.sleep(self.server.pause)
        except ConnectionError:
            self.server.broken_off.set()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


def serving_keys() -> AbstractContextManager[KeyServer]:
    return serving(KeyServer())
