"""Messages between a run and one of its format processes, over a pair of sockets that nobody else has an end of.

A message is its kind and one object. Large buffers of the object (a batch of BSON, columns of Arrow) are sent from
where they are and received into memory of their own; only the rest is pickled. Both ends are the same program, one
started by the other: what is unpickled here is our own.

The kernel is called as seldom as can be, and waits for all that is asked for: after each call a thread waits for
Python's lock, for as long as the thread that renders keeps it.
"""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HEAD = struct.Struct("<BIH")  # kind, bytes of the pickle, number of buffers
_SIZE = struct.Struct("<Q")
_TIMEVAL = struct.Struct("@ll")
_MICROSECONDS = 1_000_000
# What a system takes in one call, at least; a batch with more groups than that is sent in several.
_MOST_BUFFERS = 64


class Kind(IntEnum):
    """What a message is; the run sends `PLAN` once, then `RAW`, and is sent all others."""

    PLAN = 1
    RAW = 2
    READY = 3
    ENCODED = 4
    FAILED = 5
    LOG = 6
    ALIVE = 7


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    kind: Kind
    item: Any
    size: int
    """All its bytes."""


class Channel:
    """One end. Any thread may send; one receives.

    Sending and receiving raise OSError when the other end is gone, TimeoutError (one of these) when it neither takes
    nor sends a byte for as long as `limit_silence` says, and EOFError when it has closed in order.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._sending = threading.Lock()

    def limit_silence(self, seconds: float) -> None:
        """Have the kernel wait no longer than this for the other end.

        A timeout of Python's would have the kernel not wait at all, and Python call it for each piece of a message.
        """
        limit = _TIMEVAL.pack(*divmod(round(seconds * _MICROSECONDS), _MICROSECONDS))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.connection.setsockopt(socket.SOL_SOCKET, option, limit)

    def send(self, kind: Kind, item: Any = None) -> None:
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(item, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
        sizes = b"".join(_SIZE.pack(view.nbytes) for view in views)
        head = _HEAD.pack(kind, len(data), len(views)) + sizes + data
        with self._sending:
            self._write([memoryview(head), *views])

    def receive(self) -> ChannelMessage:
        head = bytearray(_HEAD.size)
        self._read([head])
        kind, size, count = _HEAD.unpack(head)
        rest = bytearray(_SIZE.size * count + size)
        self._read([rest])
        sizes = [each for (each,) in _SIZE.iter_unpack(rest[: _SIZE.size * count])]
        buffers = [bytearray(each) for each in sizes]
        self._read(buffers)
        data = memoryview(rest)[_SIZE.size * count :]
        return ChannelMessage(Kind(kind), pickle.loads(data, buffers=buffers), size + sum(sizes))  # noqa: S301 see the module

    def _write(self, views: list[memoryview]) -> None:
        views = _not_empty(views)
        while views:
            try:
                count = self.connection.sendmsg(views[:_MOST_BUFFERS])
            except BlockingIOError:
                raise TimeoutError("the other process takes nothing") from None
            views = _behind(views, count)

    def _read(self, buffers: Sequence[bytearray]) -> None:
        """Fill the buffers."""
        views = _not_empty(map(memoryview, buffers))
        while views:
            try:
                count, *_ = self.connection.recvmsg_into(views[:_MOST_BUFFERS], 0, socket.MSG_WAITALL)
            except BlockingIOError:
                raise TimeoutError("the other process sends nothing") from None
            if not count:
                raise EOFError("the other process has closed its end")
            views = _behind(views, count)


def _not_empty(views: Iterable[memoryview]) -> list[memoryview]:
    return [view for view in views if view.nbytes]


def _behind(views: list[memoryview], count: int) -> list[memoryview]:
    """Return what of the views is left behind their first `count` bytes."""
    for place, view in enumerate(views):
        if count < view.nbytes:
            return [view[count:], *views[place + 1 :]]
        count -= view.nbytes
    return []
