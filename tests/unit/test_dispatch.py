"""The order of batches, what may be taken when, and what becomes of a batch that is lost."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.api_client import wait_for
from vfexport_core.errors import SourceUnavailable
from vfexport_core.files.grouping import EncodedBatch, RowGroup
from vfexport_core.pipeline.processes.dispatch import Dispatcher, Numbered, Step
from vfexport_core.rows.row_counters import RowCounters
from vfexport_core.sources.prefetch import Prefetch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

RAW = [b"0000", b"1111", b"2222", b"3333"]


def encoded(number: int) -> EncodedBatch:
    return EncodedBatch((RowGroup(None, pa.array([str(number)], pa.string())),), RowCounters(read=1, rows=1))


@contextmanager
def dispatching(blocks: Iterable[bytes] = RAW, limit_bytes: int = 100) -> Generator[Dispatcher]:
    """Return a dispatcher of blocks that have all been read ahead."""
    with Prefetch(blocks, threading.Event()) as raw:
        wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name == "prefetch"])
        yield Dispatcher(raw, limit_bytes)


def taken(dispatcher: Dispatcher) -> int | None:
    item = dispatcher.take(wait=False)
    return item and item.number


def test_batches_come_in_order_whoever_is_first() -> None:
    with dispatching() as dispatcher:
        assert [taken(dispatcher) for _ in range(5)] == [0, 1, 2, 3, None]
        for number in (3, 1):
            dispatcher.put(number, encoded(number), 1)
        assert dispatcher.next_step(busy=True) is Step.GO_ON
        popped = []
        for number in (0, 2):
            dispatcher.put(number, encoded(number), 1)
            while dispatcher.next_step(busy=True) is Step.YIELD:
                popped.append(dispatcher.pop())
        assert popped == [encoded(number) for number in range(4)]
        assert dispatcher.next_step(busy=False) is Step.END
        assert not dispatcher.out


def test_what_a_lost_process_had_goes_to_the_runs_own_lowest_first() -> None:
    with dispatching() as dispatcher:
        assert [taken(dispatcher) for _ in range(3)] == [0, 1, 2]
        dispatcher.give_back([2, 0])
        assert taken(dispatcher) == 3, "no other format process is given what one has not survived"
        steps = [dispatcher.next_step(busy=False) for _ in range(2)]
        assert steps == [Numbered(0, RAW[0]), Numbered(2, RAW[2])]
        assert dispatcher.out == {0, 1, 2, 3}


def test_no_more_is_kept_than_the_limit_but_for_the_batch_whose_turn_it_is() -> None:
    with dispatching(limit_bytes=5) as dispatcher:
        assert [taken(dispatcher) for _ in range(3)] == [0, 1, None]
        dispatcher.put(1, encoded(1), 50)
        assert taken(dispatcher) is None
        dispatcher.put(0, encoded(0), 50)
        assert taken(dispatcher) is None
        dispatcher.pop()
        assert taken(dispatcher) is None
        assert dispatcher.next_step(busy=False) is Step.YIELD
        dispatcher.pop()
        assert taken(dispatcher) == 2


def test_however_large_it_is_the_batch_whose_turn_it_is_can_be_taken() -> None:
    with dispatching(limit_bytes=1) as dispatcher:
        for number in range(4):
            step = dispatcher.next_step(busy=False)
            assert step == Numbered(number, RAW[number])
            dispatcher.put(number, encoded(number), 1_000)
            assert dispatcher.next_step(busy=False) is Step.YIELD
            dispatcher.pop()
        assert dispatcher.next_step(busy=False) is Step.END


def test_an_error_is_raised_when_its_turn_comes() -> None:
    with dispatching() as dispatcher:
        assert [taken(dispatcher) for _ in range(2)] == [0, 1]
        dispatcher.put(1, SourceUnavailable("gone", payload="users"), 0)
        dispatcher.put(0, encoded(0), 1)
        assert dispatcher.pop() == encoded(0)
        assert dispatcher.next_step(busy=False) is Step.YIELD
        with pytest.raises(SourceUnavailable, match="gone"):
            dispatcher.pop()


def test_an_error_of_the_scan_comes_behind_all_that_was_read() -> None:
    def blocks() -> Iterator[bytes]:
        yield RAW[0]
        raise SourceUnavailable("the scan", payload="entries")

    with dispatching(blocks()) as dispatcher:
        assert taken(dispatcher) == 0
        dispatcher.put(0, encoded(0), 1)
        assert dispatcher.next_step(busy=False) is Step.YIELD
        assert dispatcher.pop() == encoded(0)
        with pytest.raises(SourceUnavailable, match="the scan"):
            dispatcher.next_step(busy=False)


def test_who_waits_for_a_batch_is_told_of_the_end() -> None:
    with dispatching([]) as dispatcher:
        assert dispatcher.take(wait=True) is None
    with dispatching(limit_bytes=1) as dispatcher:
        assert taken(dispatcher) == 0
        answers: list[Any] = []
        waiting = threading.Thread(target=lambda: answers.append(dispatcher.take(wait=True)))
        waiting.start()
        dispatcher.close()
        waiting.join(120)
        assert answers == [None]


def test_the_runs_own_process_waits_for_what_comes_back() -> None:
    with dispatching([RAW[0]]) as dispatcher:
        assert taken(dispatcher) == 0
        answers: list[Any] = []
        waiting = threading.Thread(target=lambda: answers.append(dispatcher.next_step(busy=False)))
        waiting.start()
        dispatcher.put(0, encoded(0), 1)
        wait_for(lambda: answers == [Step.YIELD])
        waiting.join()
