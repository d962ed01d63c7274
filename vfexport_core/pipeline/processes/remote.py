"""A format process as the run sees it: started, given batches, missed when it dies, gone when the run is.

Each has a thread of the run, which starts it, serves it and ends it. Whatever happens to the process costs time only:
the batches that it had go back to the dispatcher.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vfexport_core.errors import VfexportError
from vfexport_core.pipeline.processes.channel import Channel, Kind

if TYPE_CHECKING:
    from vfexport_core.pipeline.export_plan import ExportPlan
    from vfexport_core.pipeline.processes.dispatch import Dispatcher

SCRIPT = str(Path(__file__).with_name("start.py"))
SILENCE_SECONDS = 10.0
"""A process that says nothing for so long, not even that it is alive, has died or stands still."""
_ENDING_SECONDS = 0.2
# One is rendered, the answers for the others are on their way.
_BATCHES_AT_ONCE = 4

_log = logging.getLogger(__name__)


class _Lost(Exception):
    """The process cannot go on; the message says why."""


class FormatProcess:
    """One process, and the thread that serves it from `start` to `close`."""

    def __init__(self, plan: ExportPlan, dispatcher: Dispatcher, silence_seconds: float) -> None:
        self.pid: int | None = None
        self.done = 0
        """The batches that it has transformed."""
        self.ready = threading.Event()
        """Set when it has begun to take batches."""
        self._plan = plan
        self._dispatcher = dispatcher
        self._silence_seconds = silence_seconds
        self._ours, self._theirs = socket.socketpair()
        self._channel = Channel(self._ours)
        self._out: deque[int] = deque()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="format-process", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the process, and return when it is gone; the dispatcher was closed before."""
        self._closing.set()
        with contextlib.suppress(OSError):  # it has ended already
            self._ours.shutdown(socket.SHUT_RDWR)  # wakes the thread wherever it waits for the process
        self._thread.join()

    def _run(self) -> None:
        with self._ours, self._theirs:
            try:
                process = self._spawn()
            except OSError as error:
                _log.warning("no further process could be started (%s): the export goes on with those it has", error)
                return
            self.pid = process.pid
            try:
                self._serve()
            except (OSError, EOFError, _Lost) as error:
                if not self._closing.is_set():
                    self._report(process, error)
            finally:
                # It has nothing to put in order: what it had not sent is nowhere else.
                process.kill()
                process.wait()
                self._dispatcher.give_back(self._out)

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Start a clean process: of this one, with its threads, no fork would be whole.

        The kernel ends it with this thread (see ``start``), and elsewhere the end of its socket does.
        """
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
        with self._theirs:
            return subprocess.Popen(  # noqa: S603 the command is our own
                [sys.executable, "-P", SCRIPT, str(self._theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment,
                pass_fds=[self._theirs.fileno()],
                # Ctrl-C in the terminal reaches the run, which ends its processes.
                process_group=0,
            )

    def _serve(self) -> None:
        """Send it batches until there are no more; raises OSError, EOFError and _Lost when it is lost."""
        level = logging.getLogger("vfexport_core").getEffectiveLevel()
        self._channel.send(Kind.PLAN, (self._plan, level))
        self._wait_for(Kind.READY)
        self.ready.set()
        self._channel.limit_silence(self._silence_seconds)
        while True:
            while len(self._out) < _BATCHES_AT_ONCE:
                item = self._dispatcher.take(wait=not self._out)
                if item is None:
                    break
                self._out.append(item.number)
                self._channel.send(Kind.RAW, pickle.PickleBuffer(item.raw))
            if not self._out:
                return
            batch, size = self._wait_for(Kind.ENCODED)
            self._dispatcher.put(self._out.popleft(), batch, size)
            self.done += 1

    def _wait_for(self, kind: Kind) -> tuple[Any, int]:
        """Receive until a message of this kind comes; raises _Lost when the process says that it failed."""
        while True:
            message = self._channel.receive()
            if message.kind is kind:
                return message.item, message.size
            if message.kind is Kind.LOG:
                record = logging.makeLogRecord(message.item)
                logging.getLogger(record.name).handle(record)
            elif message.kind is Kind.FAILED:
                self._fail(message.item)

    def _fail(self, reason: VfexportError | str) -> NoReturn:
        """Have an error that one of us raised end the export, as it would have here; all else is tried once more here.

        An error of the service is raised after retries, and when it is raised they are over. What else may come up is a
        bug or a lack of memory: the run's own process meets it by itself, with its own traceback, or does not.
        """
        if isinstance(reason, VfexportError) and self._out:
            self._dispatcher.put(self._out.popleft(), reason, 0)
        raise _Lost(f"it met {reason if isinstance(reason, str) else type(reason).__name__}")

    def _report(self, process: subprocess.Popen[bytes], error: Exception) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDING_SECONDS)
        status = process.returncode
        if status is None:
            why = str(error) if isinstance(error, _Lost) else f"silent for {self._silence_seconds:g} s"
        else:
            why = f"{error}; exit status {status}"
        _log.warning("format process %d is lost (%s): %d batches are done again", process.pid, why, len(self._out))
