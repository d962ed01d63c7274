"""An HTTP proxy before S3 whose faults are rules, and which keeps a record of every request.

::

    with S3Proxy(server.endpoint_url) as proxy:      # clients use proxy.url as their endpoint
        proxy.fail("UploadPart", times=2)            # 500 twice, then as usual
        proxy.fail("UploadPart", Reset(), part=3)
        proxy.fail("CompleteMultipartUpload", LoseAnswer(), times=1)
        gate = proxy.hold("UploadPart")              # requests wait there until gate.set()
        proxy.seen("PutObject")                      # what arrived: headers, key, part, size

It speaks HTTP on a port of its own, so that runs in other processes can be sent through it as well. What reaches S3 is
held to what AWS takes (`tests/s3_strictness.py`).
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.s3_faults import (
    SLOW_DOWN,
    Answer,
    Backlog,
    Fault,
    Hold,
    LoseAnswer,
    Reset,
    Rule,
    Run,
    Seen,
    Spare,
    operation_name,
)
from tests.s3_strictness import Request, Strictness, content_md5
from tests.s3_wire import is_aws, path_style, read_body, unwrap

if TYPE_CHECKING:
    from vfexport_core.settings import Settings

# Linger of zero seconds: close sends RST, which the client sees as a connection reset.
RESET = struct.pack("ii", 1, 0)
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}
NO_ANSWER_SECONDS = 60


def through(settings: Settings, s3_url: str) -> Settings:
    """Reach S3 at another address."""
    buckets = {
        name: bucket.model_copy(update={"endpoint_url": s3_url})
        for name, bucket in settings.buckets
        if bucket is not None
    }
    return settings.model_copy(update={"buckets": settings.buckets.model_copy(update=buckets)})


class S3Proxy:
    """Forwards to `upstream` (an http URL); a context manager that closes every connection on leaving."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.rules: list[Rule] = []
        self.requests: list[Seen] = []
        self.changed = threading.Condition()
        self.strictness = Strictness()
        self._connections: set[socket.socket] = set()
        self._gates: list[threading.Event] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def add(self, rule: Rule) -> Rule:
        with self.changed:
            self.rules.append(rule)
        return rule

    def fail(self, operation: str | None, fault: Fault | None = None, **conditions: Any) -> Rule:
        return self.add(Rule(operation, fault or Answer(), **conditions))

    def hold(self, operation: str, **conditions: Any) -> threading.Event:
        """Make requests of `operation` wait; setting the event lets them go on."""
        gate = threading.Event()
        self._gates.append(gate)
        self.fail(operation, Hold(gate), **conditions)
        return gate

    def heal(self) -> None:
        """Forget all rules and let waiting requests go on."""
        with self.changed:
            self.rules.clear()
        for gate in self._gates:
            gate.set()

    def reset(self) -> None:
        """Heal, and forget what was seen."""
        self.heal()
        with self.changed:
            self.requests.clear()
            self._gates.clear()

    def seen(self, operation: str | None = None) -> list[Seen]:
        with self.changed:
            return [request for request in self.requests if operation in {None, request.operation}]

    def wait_for(self, operation: str, count: int = 1, seconds: float = 30) -> None:
        """Wait until `count` requests of `operation` have arrived."""
        with self.changed:
            arrived = self.changed.wait_for(
                lambda: sum(request.operation == operation for request in self.requests) >= count, seconds
            )
        assert arrived, f"no {count} requests of {operation}"

    def wait_until_unused(self, seconds: float = 30) -> None:
        """Wait until no connection is open: what a dead client had sent has been done."""
        with self.changed:
            assert self.changed.wait_for(lambda: not self._connections, seconds), "a connection is still open"

    def close(self) -> None:
        self.heal()
        self._server.shutdown()
        self._thread.join()
        with self.changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def arrive(self, request: Seen) -> Rule | None:
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
            return next((rule for rule in self.rules if rule.take(request)), None)

    def opened(self, connection: socket.socket) -> None:
        with self.changed:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self.changed:
            self._connections.discard(connection)
            self.changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # joined by server_close
    proxy: S3Proxy


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def of(cls, answer: Answer) -> Self:
        return cls(answer.status, [("Content-Type", "application/xml")], answer.text.encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.proxy.opened(self.connection)
        self._upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=NO_ANSWER_SECONDS)

    def finish(self) -> None:
        self._upstream.close()
        self.server.proxy.closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Keep quiet: `S3Proxy.requests` is the record."""

    def _serve(self) -> None:
        body = unwrap(self.headers, read_body(self.rfile, self.headers))
        self.path = path_style(self.headers["Host"], self.path)
        rule = self.server.proxy.arrive(self._describe(len(body)))
        self._answer(body, rule.fault if rule else None, rule.then if rule else None)

    def _answer(self, body: bytes, fault: Fault | None, then: Fault | None = None) -> None:
        match fault:
            case Answer() as answer:
                if answer.after:
                    self._pass_on(body)
                self._return(_Reply.of(answer))
            case Reset():
                self._reset()
            case LoseAnswer():
                self._pass_on(body)
                self._reset()
            case Hold(gate):
                gate.wait(NO_ANSWER_SECONDS)
                self._answer(body, then)
            case Run(action):
                action()
                self._answer(body, then)
            case Spare() as spare:
                self._return(self._delete_but(spare, body))
            case Backlog() as backlog:
                with backlog.room() as has_room:
                    self._return(self._pass_on(body) if has_room else _Reply.of(SLOW_DOWN))
            case None:
                self._return(self._pass_on(body))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 the names that the base class looks for

    def _pass_on(self, body: bytes) -> _Reply:
        """Have S3 do what is asked, unless AWS would refuse it."""
        strictness, request = self.server.proxy.strictness, self._request(body)
        refusal = strictness.refusal(request)
        if refusal is not None:
            return _Reply.of(refusal)
        left_out = {"expect", "connection", "content-length"}
        if is_aws(self.headers["Host"]):  # which the embedded S3 would take for a bucket's
            left_out.add("host")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        reply = self._ask(self.command, self.path, body, headers)
        if reply.status != http.client.OK:
            return reply
        return _Reply(reply.status, reply.headers, strictness.learn(request, reply.body))

    def _request(self, body: bytes) -> Request:
        # The embedded S3 wants to see a name, and checks no signature.
        signed = {"Authorization": self.headers.get("Authorization", "")}
        copied = signed | {"Range": self.headers.get("x-amz-copy-source-range", "bytes=0-")}
        return Request(
            self._describe(len(body)),
            body,
            upload_id=self._query().get("uploadId"),
            exists=lambda: self._ask("HEAD", urlsplit(self.path).path, headers=signed).status == http.client.OK,
            source=lambda: self._ask("GET", f"/{self.headers['x-amz-copy-source']}", headers=copied).body,
        )

    def _ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> _Reply:
        self._upstream.request(method, path, body, headers or {})
        response = self._upstream.getresponse()
        return _Reply(response.status, response.getheaders(), response.read())

    def _delete_but(self, spare: Spare, body: bytes) -> _Reply:
        rest, error = spare.split(body)
        if b"<Object>" not in rest:
            return _Reply.of(Answer(200, body=f"<DeleteResult>{error.decode()}</DeleteResult>"))
        for digest in ("Content-MD5", "x-amz-checksum-crc32"):  # those of what came
            del self.headers[digest]
        self.headers["Content-MD5"] = content_md5(rest)
        reply = self._pass_on(rest)
        answer = reply.body.replace(b"</DeleteResult>", error + b"</DeleteResult>")
        return _Reply(reply.status, reply.headers, answer)

    def _return(self, reply: _Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        told = next((value for name, value in reply.headers if name.lower() == "content-length"), None)
        self.send_header("Content-Length", told if is_head and told else str(len(reply.body)))
        self.end_headers()
        self.wfile.write(b"" if is_head else reply.body)
        self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.connection.close()

    def _query(self) -> dict[str, str]:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        return {name: values[0] for name, values in query.items()}

    def _describe(self, size: int) -> Seen:
        query = self._query()
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        operation = operation_name(self.command, bool(key), query, copies="x-amz-copy-source" in headers)
        part = int(query["partNumber"]) if "partNumber" in query else None
        return Seen(operation, bucket, key, part, size, headers)
