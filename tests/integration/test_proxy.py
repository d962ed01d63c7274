from __future__ import annotations

import socket
import threading
from contextlib import closing, contextmanager, suppress

import pytest

from tests.proxy import Proxy


@contextmanager
def echo_server():
    """Return the address of a server that sends back what it gets, and answers the end of its input with `bye`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection):
            with connection:
                while block := connection.recv(65536):
                    connection.sendall(block)
                connection.sendall(b"bye")

        def guarded(connection):
            with suppress(OSError):
                serve(connection)

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=guarded, args=(connection,)))
                threads[-1].start()

        threads = [threading.Thread(target=accept)]
        threads[0].start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
def proxy():
    with echo_server() as address, Proxy(address) as one:
        yield one


def connect(proxy, timeout=60.0):
    return closing(socket.create_connection((proxy.host, proxy.port), timeout=timeout))


def ask(connection, question):
    connection.sendall(question)
    answer = b""
    while len(answer) < len(question):
        block = connection.recv(65536)
        if not block:
            raise ConnectionError
        answer += block
    return answer


def read_all(connection):
    while connection.recv(1 << 20):
        pass


def test_passes_bytes_both_ways_and_half_closes(proxy):
    question = bytes(range(256)) * 8
    with connect(proxy) as one, connect(proxy) as two:
        assert ask(one, question) == question
        assert ask(two, b"other") == b"other"
        one.shutdown(socket.SHUT_WR)
        assert one.recv(10) == b"bye"
        assert one.recv(10) == b""
        assert ask(two, b"still there") == b"still there"
    assert proxy.accepted == 2


def test_cut_resets_open_connections_and_serves_new_ones(proxy):
    with connect(proxy) as one:
        ask(one, b"x")
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            one.recv(1)
        with connect(proxy) as two:
            assert ask(two, b"again") == b"again"


def test_cut_reaches_a_connection_whose_reader_is_stuck(proxy):
    with connect(proxy, timeout=0.5) as one:
        with pytest.raises(TimeoutError):
            one.sendall(b"x" * 64 * 1024 * 1024)  # nobody reads the echo: every buffer on the way fills up
        proxy.cut()
        one.settimeout(60)
        with pytest.raises(ConnectionResetError):
            read_all(one)


def test_refuse_and_restore(proxy):
    with connect(proxy) as one:
        ask(one, b"x")
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            one.recv(1)
    with pytest.raises(ConnectionError), connect(proxy) as two:
        ask(two, b"x")
    proxy.restore()
    with connect(proxy) as three:
        assert ask(three, b"x") == b"x"


def test_black_hole_answers_nothing_and_restore_cuts_what_lost_something(proxy):
    proxy.blackhole()
    with connect(proxy, timeout=0.3) as one:
        with pytest.raises(TimeoutError):
            ask(one, b"x")
        proxy.restore()
        one.settimeout(60)
        with pytest.raises(ConnectionResetError):
            one.recv(1)
    with connect(proxy) as two:
        assert ask(two, b"x") == b"x"


def test_delay_holds_an_answer_back(proxy):
    proxy.delay = 60.0
    with connect(proxy, timeout=0.3) as one, pytest.raises(TimeoutError):
        ask(one, b"x")


def test_on_block_can_cut_at_a_chosen_block():
    seen = []

    def watch(from_client, block):
        seen.append((from_client, block))
        if block == b"third":
            proxy.cut()

    with echo_server() as address, Proxy(address, on_block=watch) as proxy, connect(proxy) as one:
        assert ask(one, b"first") == b"first"
        assert ask(one, b"second") == b"second"
        with pytest.raises(ConnectionError):
            ask(one, b"third")
    assert seen == [(True, b"first"), (False, b"first"), (True, b"second"), (False, b"second"), (True, b"third")]


def test_a_target_that_is_down_refuses():
    with echo_server() as address:
        pass
    with Proxy(address) as proxy, pytest.raises(ConnectionError), connect(proxy) as one:
        ask(one, b"x")
