"""What runs in a format process: raw batches come in, encoded ones go out, in the same order.

It is started by the script ``start``, and ends when the run closes its end of the socket, however that comes about.
"""

from __future__ import annotations

import gc
import logging
import logging.handlers
import os
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from vfexport_core.errors import VfexportError
from vfexport_core.mongo.client import open_scanned, opened
from vfexport_core.pipeline.processes.channel import Channel, Kind
from vfexport_core.pipeline.stages import transform

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from typing import NoReturn

    from vfexport_core.pipeline.export_plan import ExportPlan

_ALIVE_SECONDS = 1.0


class Helper:
    """Serves one run. A thread receives, so that the run can always send; another says that this process is alive."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._raw: SimpleQueue[bytes] = SimpleQueue()
        self._begun = 0

    def serve(self, plan: ExportPlan) -> None:
        """Transform what comes until the run is gone; raises what `transform` does."""
        for work in (self._receive, self._say_alive):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()
        with opened(plan.settings) as database:
            stop = threading.Event()
            for batch in transform(plan, self._batches(), open_scanned(database, plan.settings), stop):
                self._begun -= 1
                self._channel.send(Kind.ENCODED, batch)

    def _batches(self) -> Iterator[bytes | None]:
        self._channel.send(Kind.READY)  # the look-ups are open: whatever takes long was done
        while True:
            try:
                raw = self._raw.get(block=not self._begun)
            except Empty:
                yield None
            else:
                self._begun += 1
                yield raw

    def _receive(self) -> None:
        try:
            while True:
                self._raw.put(bytes(self._channel.receive().item))
        except BaseException:  # noqa: BLE001 whatever it is, there is nobody to work for any more
            os._exit(0)

    def _say_alive(self) -> None:
        while True:
            self._channel.send(Kind.ALIVE)
            threading.Event().wait(_ALIVE_SECONDS)


class LogToRun(logging.handlers.QueueHandler):
    """Hands log records to the run, which writes them as it writes its own."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(SimpleQueue())
        self._channel = channel

    def enqueue(self, record: logging.LogRecord) -> None:
        self._channel.send(Kind.LOG, record.__dict__)


def main(connection: socket.socket) -> NoReturn:
    """Serve the run at the other end, and exit without waiting for anything."""
    channel = Channel(connection)
    status = 1
    try:
        plan, level = channel.receive().item
        logging.basicConfig(level=level, handlers=[LogToRun(channel)])
        gc.freeze()
        Helper(channel).serve(plan)
    except EOFError:
        status = 0
    except VfexportError as error:
        channel.send(Kind.FAILED, error)
    except BaseException as error:  # noqa: BLE001 the run meets it by itself
        channel.send(Kind.FAILED, type(error).__name__)
    os._exit(status)
