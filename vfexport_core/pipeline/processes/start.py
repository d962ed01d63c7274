"""Starts a format process; a script, so that it has come to this before anything large is imported.

    python -P start.py SOCKET RUN

SOCKET is the number of an open file, RUN the id of the process that has the other end. What the export is comes over
the socket: nothing of it stands on the command line.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1


def die_with(run: int) -> None:
    """Have the kernel end this process, even a stopped one, when the thread of the run that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != run:  # it has ended before that
        os._exit(0)


if __name__ == "__main__":
    number, run = map(int, sys.argv[1:])
    die_with(run)
    from vfexport_core.pipeline.processes.helper import main

    main(socket.socket(fileno=number))
