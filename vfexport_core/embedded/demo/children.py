"""The demo's child processes: started beside each other, stopped together, and missed when they die."""

from __future__ import annotations

import http.client
import os
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vfexport_core.embedded.process import HOST, ServerProcess, server_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack


class Stopping(Exception):
    """The demo ends while something of it is still being started."""


@dataclass(slots=True)
class Children:
    """Processes below one folder; `exits` stops them. Their data is thrown away, so they are killed, not asked."""

    folder: Path
    exits: ExitStack
    stopping: threading.Event = field(default_factory=threading.Event)
    _watched: list[tuple[str, int, Path]] = field(default_factory=list[tuple[str, int, Path]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, name: str, module: str, arguments: Sequence[str]) -> ServerProcess:
        """Start ``python -m MODULE ARGUMENT...`` with our environment; its log is in the folder."""
        if self.stopping.is_set():
            raise Stopping
        log = self.folder / f"{name.replace(' ', '-').lower()}.log"
        process = ServerProcess(
            name,
            [sys.executable, "-m", module, *arguments],
            log,
            stop_seconds=0,
            environment=dict(os.environ),
            folder=self.folder,
        )
        with self._lock:
            self.exits.push(process)
        self.watch(name, process.pid, log)
        return process

    def watch(self, name: str, pid: int, log: Path) -> None:
        """Count a process that was started elsewhere among those that must not die."""
        self._watched.append((name, pid, log))

    def wait_for(self, process: ServerProcess, ready: Callable[[], bool]) -> None:
        """Wait until `ready`; raises EmbeddedServerFailed, or Stopping when the demo ends meanwhile."""

        def ready_or_stopping() -> bool:
            if self.stopping.is_set():
                raise Stopping
            return ready()

        process.wait_until(ready_or_stopping)

    def check(self) -> None:
        """Raise EmbeddedServerFailed, with the end of its log, for a process that has died."""
        for name, pid, log in self._watched:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                raise server_failure(name, "ended early", log) from None


def answers(port: int, path: str) -> bool:
    """Return whether a GET on 127.0.0.1 is answered with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
