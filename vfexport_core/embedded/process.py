"""Child processes that are ready when we say so and gone when we are."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from vfexport_core.errors import EmbeddedServerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

HOST = "127.0.0.1"
READY_SECONDS = 60.0
POLL_SECONDS = 0.02
LOG_TAIL_BYTES = 4096
STOP_MARGIN_SECONDS = 10.0
# Below the ports that Linux hands out to outgoing connections (32768 and up): none of those can take it meanwhile.
PORTS = range(15_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at the moment; somebody may take it before it is used."""
    for port in random.SystemRandom().sample(PORTS, 200):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port
    raise EmbeddedServerFailed(f"no free port on {HOST} between {PORTS.start} and {PORTS.stop}")


def server_failure(name: str, what: str, log: Path) -> EmbeddedServerFailed:
    """Make the error that says what happened to a server and what it last wrote."""
    with log.open("rb") as written:
        written.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        tail = written.read().decode(errors="replace").strip()
    return EmbeddedServerFailed(f"the embedded {name} {what}; its log ends:\n{tail}", payload=str(log))


class ServerProcess:
    """One embedded server under its supervisor (see server_supervisor.py); a context manager that stops it on leaving.

    `pid` is the server's own process id. Output goes to `log`. Raises `EmbeddedServerFailed`, with the end of the
    log, when the command cannot be started. `folder` is its working directory, if not ours.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        stop_seconds: float,
        environment: Mapping[str, str],
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._stop_seconds = stop_seconds
        supervisor = [sys.executable, "-I", "-S", str(Path(__file__).with_name("server_supervisor.py"))]
        with log.open("ab") as output:
            # A session of its own: Ctrl-C in the terminal reaches us, and we stop the servers in our order.
            self._supervisor = subprocess.Popen(  # noqa: S603 the command is our own
                [*supervisor, str(stop_seconds), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                cwd=folder,
                env=dict(environment),
            )
        assert self._supervisor.stdout is not None
        with self._supervisor.stdout as answer:
            line = answer.readline()
        if not line:
            self.stop()
            raise self.failure("could not be started")
        self.pid = int(line)

    def wait_until(self, ready: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
        """Ask `ready` until it says yes; raises `EmbeddedServerFailed` on early death or after `seconds`."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._supervisor.poll() is not None:
                raise self.failure(f"ended early with status {self._supervisor.returncode}")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {seconds:g} s")
            time.sleep(POLL_SECONDS)

    def failure(self, what: str) -> EmbeddedServerFailed:
        """Make the error that says what happened and what the server last wrote."""
        return server_failure(self.name, what, self.log)

    def stop(self) -> None:
        """End the server and its supervisor and wait for both; harmless when they have ended already."""
        assert self._supervisor.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._supervisor.stdin.close()
        # A fork of this process may hold the pipe open, hence the signal as well.
        with contextlib.suppress(ProcessLookupError):
            self._supervisor.send_signal(signal.SIGTERM)
        try:
            self._supervisor.wait(self._stop_seconds + STOP_MARGIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()

    def kill(self) -> None:
        """Kill the server as a crash would, leaving alone what it has started itself; `stop` is still to be called."""
        # Stopped first: it would take the server's whole group along.
        self._supervisor.send_signal(signal.SIGSTOP)
        os.kill(self.pid, signal.SIGKILL)
        self._supervisor.kill()
        self._supervisor.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
