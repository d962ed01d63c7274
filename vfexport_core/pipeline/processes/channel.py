"""Messages between a run and one of its format processes, over a pair of sockets that nobody else has an end of.

A message is its kind and one object. Large buffers of the object (a batch of BSON, columns of Arrow) are sent from
where they are and received into memory of their own; only the rest is pickled. Both ends are the same program, one
started by the other: what is unpickled here is our own.
"""

from __future__ import annotations

import pickle
import struct
import threading
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket

_HEAD = struct.Struct("<BIH")  # kind, bytes of the pickle, number of buffers
_SIZE = struct.Struct("<Q")


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
    nor sends a byte for as long as the socket's timeout says, and EOFError when it has closed in order.
    """

    def __init__(self, connection: socket) -> None:
        self.connection = connection
        self._sending = threading.Lock()

    def send(self, kind: Kind, item: Any = None) -> None:
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(item, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
        sizes = b"".join(_SIZE.pack(view.nbytes) for view in views)
        with self._sending:
            self.connection.sendall(_HEAD.pack(kind, len(data), len(views)) + sizes + data)
            for view in views:
                self.connection.sendall(view)

    def receive(self) -> ChannelMessage:
        kind, size, count = _HEAD.unpack(self._read(_HEAD.size))
        sizes = [each for (each,) in _SIZE.iter_unpack(self._read(_SIZE.size * count))]
        data = self._read(size)
        buffers: Sequence[bytearray] = [self._read(each) for each in sizes]
        return ChannelMessage(Kind(kind), pickle.loads(data, buffers=buffers), size + sum(sizes))  # noqa: S301 see the module

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view, received = memoryview(data), 0
        while received < size:
            count = self.connection.recv_into(view[received:])
            if not count:
                raise EOFError("the other process has closed its end")
            received += count
        return data
