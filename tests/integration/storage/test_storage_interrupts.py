"""A signal raises an exception in the main thread, as Dagster's interrupt does, at every request of a delivery."""

from __future__ import annotations

import signal
import threading

import pytest

from tests.integration.storage.test_storage_faults import POINTS
from tests.s3_faults import Hold, LoseAnswer, Run


class Interrupt(BaseException):
    """Like Dagster's: not an Exception."""


@pytest.fixture
def interrupt():
    """Return a function that interrupts the main thread, wherever it is."""

    def raise_it(*_):
        raise Interrupt

    before = signal.signal(signal.SIGUSR1, raise_it)
    yield lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_an_interrupt_leaves_nothing(make_writer, proxy, store, interrupt, point):
    proxy.fail(point.operation, Run(interrupt), times=1, **point.where)
    with pytest.raises(Interrupt), make_writer(limits=point.limits) as writer:
        point.deliver(writer)
    store.assert_empty()


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_request_under_way_is_awaited_before_cleaning(make_writer, proxy, store, interrupt, point):
    """The request has its effect only after the interrupt; cleaning at once would come too early for it."""
    gate = threading.Event()

    def interrupt_and_open_soon():
        interrupt()
        threading.Timer(0.1, gate.set).start()

    proxy.fail(point.operation, Run(interrupt_and_open_soon), times=1, then=Hold(gate), **point.where)
    with pytest.raises(Interrupt), make_writer(limits=point.limits) as writer:
        point.deliver(writer)
    assert gate.is_set()
    store.assert_empty()


def test_an_upload_whose_id_never_came_back_is_aborted(make_writer, proxy, store, interrupt):
    """The client is interrupted in the very moment in which S3's answer to its first request is lost."""
    proxy.fail("CreateMultipartUpload", Run(interrupt), times=1, then=LoseAnswer())
    with pytest.raises(Interrupt), make_writer() as writer:
        POINTS[1].deliver(writer)
    assert proxy.seen("AbortMultipartUpload")
    store.assert_empty()
