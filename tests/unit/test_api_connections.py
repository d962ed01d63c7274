"""What a client may take of a process: header lines, time and connections; over sockets, with uvicorn."""

from __future__ import annotations

import json
import re
import resource
import socket
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from tests.api_client import wait_for
from vfexport_core.api import correlation
from vfexport_core.api.connections import BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LARGE = b"x" * 8 * 2**20
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENCE_SECONDS = 30


class Quick(BoundedProtocol):
    turn_seconds = 0.3
    most_connections = 5


class Late(BoundedProtocol):
    """As many connections as in production, for less long."""

    turn_seconds = 2.0


class Roomy(BoundedProtocol):
    """Waits for nobody to be late."""

    turn_seconds = 600.0
    most_connections = 5


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body; answer a POST with its length, a request for /large with `LARGE`."""
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    answer = LARGE if scope["path"] == "/large" else str(len(body)).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@contextmanager
def served(protocol: type[BoundedProtocol]) -> Iterator[tuple[uvicorn.Server, Callable[[], socket.socket]]]:
    """Serve `app`; gives the server, and what connects to it."""
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as closing:
        address = listener.getsockname()
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        wait_for(lambda: server.started)

        def connect() -> socket.socket:
            return closing.enter_context(socket.create_connection(address, timeout=PATIENCE_SECONDS))

        try:
            yield server, connect
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def connect() -> Iterator[Callable[[], socket.socket]]:
    with served(Quick) as (_, connect):
        yield connect


def everything(connection: socket.socket) -> bytes:
    """Read until the other side closes or resets; fails when it does neither."""
    received = b""
    try:
        while block := connection.recv(65_536):
            received += block
    except ConnectionError:
        pass
    return received


def send_all(connection: socket.socket, blocks: Iterable[bytes]) -> None:
    for block in blocks:
        connection.sendall(block)


def answered(connection: socket.socket, request: bytes = GET) -> bool:
    connection.sendall(request)
    return connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("line", [b"X-Line: 0123456789\r\n", b"X"], ids=["many lines", "one line"])
def test_endless_headers_are_refused(connect: Callable[[], socket.socket], line: bytes) -> None:
    connection = connect()
    connection.sendall(GET[:-2])
    with pytest.raises(ConnectionError):
        send_all(connection, [line * (65_536 // len(line))] * 1_000)
    assert answered(connect())


def test_headers_that_end_are_refused_when_they_are_too_long(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(GET[:-2] + b"X-Line: 0123456789\r\n" * 2_000 + b"\r\n")
    assert b" 200 " not in everything(connection)


@pytest.mark.parametrize(
    "sent",
    [
        GET.replace(b"Host: x\r\n", b""),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        GET[:-2] + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        GET[:-2] + b"X-Long: " + b"x" * 16_384,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n",
    ],
    ids=["no host", "tls", "two lengths", "a long header", "a chunk without a length"],
)
@pytest.mark.parametrize("has_asked_before", [False, True])
def test_what_is_not_understood_is_refused_in_the_form_of_all_answers(
    connect: Callable[[], socket.socket], sent: bytes, has_asked_before: bool
) -> None:
    connection = connect()
    assert not has_asked_before or answered(connection)
    connection.sendall(sent)
    head, _, body = everything(connection).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    error = json.loads(body)["error"]
    assert status == "HTTP/1.1 400 Bad Request"
    assert (error["status"], error["code"], error["payload"]) == (400, "InvalidRequest", "request")
    assert (headers["content-type"], headers["cache-control"]) == ("application/json", "no-store")
    assert (headers["content-length"], headers["connection"]) == (str(len(body)), "close")
    assert re.fullmatch(correlation.PATTERN, headers["x-correlation-id"])


def test_a_head_request_that_is_not_understood_is_cut_off(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n")
    assert everything(connection) == b""
    assert answered(connect())


def test_headers_as_long_as_tokens_are_read(connect: Callable[[], socket.socket]) -> None:
    assert answered(connect(), GET[:-2] + b"Authorization: Bearer " + b"x" * 8_192 + b"\r\n\r\n")


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET / HT", GET[:-2], b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"],
    ids=["nothing", "a line", "headers", "a body"],
)
def test_a_request_that_does_not_end_is_cut_off(connect: Callable[[], socket.socket], begun: bytes) -> None:
    connection = connect()
    connection.sendall(begun)
    assert everything(connection) == b""
    assert answered(connect())


def test_a_second_request_that_does_not_end_is_cut_off(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    assert answered(connection)
    connection.sendall(GET[:-2])
    assert everything(connection) == b""


def test_a_request_that_trickles_is_cut_off(connect: Callable[[], socket.socket]) -> None:
    """A byte now and then does not buy more time."""
    connection = connect()
    connection.sendall(GET[:-2] + b"X: ")
    connection.settimeout(0.02)
    for _ in range(PATIENCE_SECONDS * 50):
        try:
            connection.sendall(b"x")
            assert connection.recv(1) == b""
        except TimeoutError:
            continue  # it is still waited for
        except ConnectionError:
            pass
        return
    pytest.fail("it is waited for as long as it goes on")


def test_an_answer_that_is_not_taken_is_cut_off() -> None:
    with served(Quick) as (server, connect):
        connection = connect()
        connection.sendall(GET.replace(b"/ ", b"/large "))
        wait_for(lambda: server.server_state.total_requests == 1)
        wait_for(lambda: not server.server_state.connections)
        assert len(everything(connection)) < len(LARGE)


def test_large_bodies_and_idle_connections_are_not_cut_off(connect: Callable[[], socket.socket]) -> None:
    body = b"x" * 2**20
    idle, busy = connect(), connect()
    assert answered(idle)
    assert answered(busy, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    slow = connect()
    assert everything(slow) == b""  # as long as a client has, so longer than the others have been idle
    assert answered(idle)
    assert answered(busy)


def test_of_too_many_connections_the_slowest_is_cut_off() -> None:
    with served(Roomy) as (server, connect):
        working = connect()
        assert answered(working)
        slow = [connect() for _ in range(Roomy.most_connections - 1)]
        wait_for(lambda: len(server.server_state.connections) == Roomy.most_connections)
        assert all(answered(connect()) for _ in slow)
        assert all(everything(connection) == b"" for connection in slow)
        assert answered(working)
        assert len(server.server_state.connections) == Roomy.most_connections


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have both ends of a thousand connections open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4_096
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may have {hard} files open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_slow_connections_are_cut_off_while_others_are_served() -> None:
    with served(Late) as (server, connect):
        slow = []
        for number in range(1_000):
            slow.append(connect())
            slow[-1].sendall(GET[:-2])
            if number % 100 == 0:
                assert answered(connect())
        assert len(server.server_state.connections) <= Late.most_connections
        assert answered(connect())
        assert all(everything(connection) == b"" for connection in slow)
        assert answered(connect())
