"""Messages between a run and its format processes."""

from __future__ import annotations

import pickle
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from vfexport_core.errors import SourceUnavailable
from vfexport_core.files.grouping import EncodedBatch, RowGroup
from vfexport_core.pipeline.processes.channel import Channel, Kind
from vfexport_core.rows.row_counters import RowCounters

if TYPE_CHECKING:
    from collections.abc import Generator

MANY = 5 * 2**20


@contextmanager
def channels() -> Generator[tuple[Channel, Channel]]:
    one, other = socket.socketpair()
    with one, other:
        yield Channel(one), Channel(other)


def through(item: Any) -> Any:
    """Send an object that is larger than what the system holds on the way."""
    with channels() as (one, other):
        sender = threading.Thread(target=one.send, args=(Kind.RAW, item))
        sender.start()
        message = other.receive()
        sender.join()
        assert message.kind is Kind.RAW
        return message


def test_bytes_come_as_they_were_sent() -> None:
    data = bytes(range(256)) * (MANY // 256)
    message = through(pickle.PickleBuffer(data))
    assert bytes(message.item) == data
    assert message.size > MANY


def test_rows_come_with_their_keys_and_counters() -> None:
    counters = RowCounters(read=3, rows=2, suppressed=1)
    counters.warnings.add("unknownUser", 2)
    rows = [pa.array(["é" * 50_000, "", "x"] * 20, pa.string()), pa.array([], pa.string())]
    batch = EncodedBatch((RowGroup(("NA", "en"), rows[0]), RowGroup(7, rows[1]), RowGroup(None, rows[1])), counters)
    assert through(batch).item == batch


def test_errors_keep_class_message_and_payload() -> None:
    error = through(SourceUnavailable("MongoDB failed on collection users", payload="users")).item
    assert type(error) is SourceUnavailable
    assert (error.message, error.payload) == ("MongoDB failed on collection users", "users")


def test_the_end_of_the_other_process_is_noticed() -> None:
    with channels() as (one, other):
        one.connection.close()
        with pytest.raises(EOFError):
            other.receive()
        with pytest.raises(BrokenPipeError):
            other.send(Kind.ALIVE)


def test_an_end_in_the_middle_of_a_message_is_noticed() -> None:
    with channels() as (one, other):
        one.connection.sendall(b"\x04\x00")
        one.connection.close()
        with pytest.raises(EOFError):
            other.receive()


def test_silence_is_noticed_by_who_receives_and_by_who_sends() -> None:
    with channels() as (one, _):
        one.limit_silence(0.05)
        with pytest.raises(TimeoutError):
            one.receive()
        with pytest.raises(TimeoutError):
            one.send(Kind.RAW, pickle.PickleBuffer(bytes(MANY)))


def test_messages_of_several_threads_do_not_mix() -> None:
    with channels() as (one, other):
        items = [bytes([number]) * 300_000 for number in range(8)]
        threads = [threading.Thread(target=one.send, args=(Kind.RAW, pickle.PickleBuffer(item))) for item in items]
        for thread in threads:
            thread.start()
        received = sorted(bytes(other.receive().item) for _ in items)
        for thread in threads:
            thread.join()
        assert received == items


def test_a_batch_of_more_buffers_than_one_call_takes_comes_whole() -> None:
    rows = [pa.array([f"{number}" * 1_000], pa.string()) for number in range(800)]
    batch = EncodedBatch(tuple(RowGroup(number, each) for number, each in enumerate(rows)), RowCounters())
    assert through(batch).item == batch
