"""A TCP proxy whose faults a test switches on and off.

::

    with Proxy(("127.0.0.1", port)) as proxy:
        client = MongoClient(proxy.host, proxy.port, directConnection=True)
        proxy.delay = 0.2          # seconds added to every block, each way
        proxy.cut()                # reset every open connection; new ones are served
        proxy.refuse()             # cut, and reset new connections until `restore()`
        proxy.blackhole()          # accept and read, pass nothing on, answer nothing, until `restore()`

`on_block` sees every block before it is passed on (True: from the client to the target): a test can cut at a chosen one
(that block is then lost), a benchmark can record what the target said. It is called in the connection's thread.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK_BYTES = 64 * 1024
WAKE_SECONDS = 0.1
# Linger of zero seconds: close sends RST, which the other side sees at once as a lost connection.
RESET = struct.pack("ii", 1, 0)


class Connection:
    """The two sockets of one client; with `lost` set they are reset rather than closed."""

    def __init__(self, client: socket.socket) -> None:
        self.client, self.server, self.lost = client, socket.socket(), threading.Event()

    def close(self) -> None:
        for one in (self.client, self.server):
            if self.lost.is_set():
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.close()


class Proxy:
    """Forwards `host`:`port` to `target`; a context manager that resets and closes everything on leaving."""

    def __init__(self, target: tuple[str, int], *, on_block: Callable[[bool, bytes], None] | None = None) -> None:
        self.target, self.on_block, self.delay = target, on_block, 0.0
        self.accepted = 0  # connections so far, refused ones included
        self.mode: Literal["forward", "refuse", "blackhole"] = "forward"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.host, self.port = self._listener.getsockname()
        self._open: dict[Connection, threading.Thread] = {}
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def cut(self) -> int:
        """Reset every open connection, both ends; give how many there were."""
        with self._lock:
            for connection in self._open:
                connection.lost.set()
                for one in (connection.client, connection.server):
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it, which then ends it
            return len(self._open)

    def refuse(self) -> None:
        self.mode = "refuse"
        self.cut()

    def blackhole(self) -> None:
        self.mode = "blackhole"

    def restore(self) -> None:
        """Serve again, without delay; connections that lost something in the black hole are cut."""
        was, self.mode, self.delay = self.mode, "forward", 0.0
        if was == "blackhole":
            self.cut()

    def wait_until_unused(self, seconds: float = 30) -> None:
        """Wait until no connection is open: what a dead client had sent has been passed on."""
        for thread in list(self._open.values()):
            thread.join(seconds)
            assert not thread.is_alive(), "a connection is still open"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.cut()
        for thread in list(self._open.values()):
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            connection = Connection(client)
            with contextlib.suppress(OSError):
                connection.server.connect(self.target)
                with self._lock:  # refuse() changes the mode before it cuts: no connection slips between the two
                    if self.mode != "refuse":
                        self._open[connection] = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                        self._open[connection].start()
                        continue
            connection.lost.set()
            connection.close()

    def _serve(self, connection: Connection) -> None:
        """Pass both ways until both ends are done, then close."""
        client, server = connection.client, connection.server
        for one in (client, server):
            one.settimeout(WAKE_SECONDS)  # so that a thread that waits to send, too, sees the connection lost
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._pass, args=(connection, server, client), daemon=True)
        back.start()
        self._pass(connection, client, server)
        back.join()
        with self._lock:
            del self._open[connection]
        connection.close()

    def _pass(self, connection: Connection, source: socket.socket, sink: socket.socket) -> None:
        rest = memoryview(b"")
        while not connection.lost.is_set():
            try:
                if rest:
                    rest = rest[sink.send(rest) :]
                    continue
                block = source.recv(BLOCK_BYTES)
                if not (block or connection.lost.is_set()):
                    sink.shutdown(socket.SHUT_WR)
                    return
            except TimeoutError:
                continue
            except OSError:
                connection.lost.set()
                return
            if not connection.lost.wait(self.delay) and self.mode != "blackhole":
                if self.on_block:
                    self.on_block(source is connection.client, block)
                rest = memoryview(block)
