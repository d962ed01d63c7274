"""A small process that stands between us and an embedded server, so that the server never outlives us.

Run as a script (nothing beyond the standard library, started isolated: it is up in a few hundredths of a second)::

    python -I -S server_supervisor.py GRACE_SECONDS COMMAND [ARGUMENT...]

It starts COMMAND, prints its pid on a line, and ends it when
- standard input reaches its end: the parent closed the pipe, or died in any way, kill -9 included;
- its parent changed: the parent died, yet a fork of it still holds the pipe open;
- SIGTERM or SIGINT arrives.
It ends with COMMAND's exit status (128 + n for signal n) when COMMAND ends by itself.

On Linux the kernel kills COMMAND when the supervisor itself is killed with -9 (PR_SET_PDEATHSIG). The signal is tied to
the supervisor and not to the first parent, because it is sent when the *thread* that started the child ends: a server
started from a worker thread would die with that thread.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # isolated as it is, it finds nothing of this package by itself
    sys.path.append(str(Path(__file__).parents[2]))

from vfexport_core.parent_death import ending_with

if TYPE_CHECKING:
    from types import FrameType

CHECK_SECONDS = 0.2
GROUP_SECONDS = 2.0
GROUP_POLL_SECONDS = 0.01


def signals_into_pipe() -> int:
    """Have SIGTERM and SIGINT written to a pipe, whose reading end is given.

    A handler that raised would also interrupt the child's orderly end, since a closed pipe and a signal come together.
    """
    reader, writer = os.pipe()

    def note(signal_number: int, frame: FrameType | None) -> None:
        del frame
        os.write(writer, bytes([signal_number]))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return reader


def end(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Ask the child to stop, then make it; what it started and left behind (its process group) is made to stop too."""
    if child.poll() is None and grace_seconds > 0:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace_seconds)
    if child.poll() is None:
        child.kill()
        child.wait()
    end_group(child.pid)


def end_group(leader: int) -> None:
    """Kill a process group and see that it is gone; for a bounded time, since zombies stay until they are reaped."""
    deadline = time.monotonic() + GROUP_SECONDS
    number = signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(leader, number)
            number = 0  # asks only whether there is anybody
            time.sleep(GROUP_POLL_SECONDS)


def supervise(child: subprocess.Popen[bytes], parent: int, signals: int) -> int:
    """Wait until the child or the parent has ended, or for a signal; give our exit status."""
    while child.poll() is None:
        readable, _, _ = select.select([sys.stdin, signals], [], [], CHECK_SECONDS)
        if signals in readable:
            return 128 + os.read(signals, 1)[0]
        if sys.stdin in readable and not os.read(sys.stdin.fileno(), 1024):
            return 0
        if os.getppid() != parent:
            return 0
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def main(arguments: list[str]) -> int:
    """Start the command, announce it, supervise it."""
    grace_seconds, command = float(arguments[0]), arguments[1:]
    parent = os.getppid()
    signals = signals_into_pipe()
    # stdout and stderr of the child are our stderr: the log file. Our stdout says the pid and nothing else.
    child = subprocess.Popen(  # noqa: S603 the command is our own
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        process_group=0,
        preexec_fn=ending_with(os.getpid()),  # noqa: PLW1509 no threads here
    )
    try:
        print(child.pid, flush=True)  # noqa: T201 this is the answer to the parent
        return supervise(child, parent, signals)
    finally:
        end(child, grace_seconds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
