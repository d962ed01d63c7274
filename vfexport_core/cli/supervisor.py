"""Keeps child processes running: each that ends is started again, sooner or later by how well it lives.

The first new start is at once; each that follows soon waits twice as long, up to `LONGEST_PAUSE_SECONDS`. On Linux the
kernel tells the children to stop when the supervisor dies in whatever way; what they have started themselves stays.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfexport_core.parent_death import ending_with

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
STABLE_SECONDS = 60.0
"""A process that has lived for so long is stable: when it ends, it is started again at once."""

_LOOK_SECONDS = 0.2
_GROUP_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Program:
    """A child process to keep running.

    `is_ready` says whether those behind it may be started; one that `stops_last` is told to stop when the others have.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool] = lambda: True
    stops_last: bool = False


@dataclass(slots=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    pause: float = 0.0
    due: float = 0.0
    groups: set[int] = field(default_factory=set[int])
    """The process groups that were started for it: something may be left of one whose leader has died."""

    def start(self) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 the command is our own
            self.program.command,
            stdin=subprocess.DEVNULL,
            env=dict(self.program.environment),
            start_new_session=True,  # Ctrl-C in the terminal reaches the supervisor alone, which stops them in order
            preexec_fn=ending_with(os.getpid(), signal.SIGTERM),  # noqa: PLW1509 no threads here
        )
        self.groups.add(self.process.pid)
        _log.info("%s runs as process %d", self.program.name, self.process.pid)

    def look(self) -> None:
        """Note that it has ended, and start it again when it is time for that."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due:
                self.start()
        elif (status := self.process.poll()) is not None:
            self.process = None
            is_stable = now - self.began >= STABLE_SECONDS
            self.due = now + (0.0 if is_stable else self.pause)
            _log.warning(
                "%s ended with status %d and is started again in %.1f s", self.program.name, status, self.due - now
            )
            self.pause = FIRST_PAUSE_SECONDS if is_stable else self._longer_pause()
        self.groups = {group for group in self.groups if _exists(group)}

    def _longer_pause(self) -> float:
        return min(max(FIRST_PAUSE_SECONDS, 2 * self.pause), LONGEST_PAUSE_SECONDS)

    def ask_to_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            _log.info("%s is told to stop", self.program.name)
            self.process.terminate()

    def end(self, seconds: float) -> None:
        """Wait until it has ended, for so long; then nothing of it is left, nor of what it has started."""
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for group in self.groups:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, number)
            if self._is_gone(_GROUP_SECONDS):
                return

    def _is_gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            if self.process is not None:
                self.process.poll()
            self.groups = {group for group in self.groups if _exists(group)}
            if not self.groups or time.monotonic() >= deadline:
                return not self.groups
            time.sleep(_LOOK_SECONDS / 4)


class Supervisor:
    """Runs programs, started in their order, until `stop`."""

    def __init__(self, programs: Sequence[Program], *, ready_seconds: float, stop_seconds: float) -> None:
        self._children = [_Child(program) for program in programs]
        self._ready_seconds = ready_seconds
        self._stop_seconds = stop_seconds
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Have `run` stop everything and return; may be called by a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Start everything and keep it running until `stop` is called; afterwards nothing of it is left."""
        started: list[_Child] = []
        try:
            for child in self._children:
                child.start()
                started.append(child)
                self._keep(started, until=child.program.is_ready)
            self._keep(started)
        finally:
            self._end([child for child in started if not child.program.stops_last])
            self._end([child for child in started if child.program.stops_last])

    def _end(self, children: Sequence[_Child]) -> None:
        deadline = time.monotonic() + self._stop_seconds
        for child in children:
            child.ask_to_stop()
        for child in children:
            child.end(max(0.0, deadline - time.monotonic()))

    def _keep(self, children: Sequence[_Child], until: Callable[[], bool] | None = None) -> None:
        """Keep them running until there is the word to stop; with `until` also until that is met or takes too long."""
        deadline = time.monotonic() + self._ready_seconds
        while not self._stopping.is_set():
            if until is not None and (until() or time.monotonic() >= deadline):
                return
            for child in children:
                child.look()
            self._stopping.wait(_LOOK_SECONDS)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
