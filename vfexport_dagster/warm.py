"""Runs that start at once, and a code location that cannot be jammed.

Dagster's code server starts a process per run, which spends most of a second on importing before it looks for its
export. Here it is forked instead, by the standard library's fork server: a process without threads that has imported
everything beforehand (`preloaded`). For Dagster nothing changes but the time that a start takes: the process is
watched, interrupted and missed when it dies as before, and one that starts cold is as right as one that starts warm.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing import forkserver
from multiprocessing.synchronize import Event
from typing import Any, cast

PRELOADED = "vfexport_dagster.preloaded"
_COMMAND = ["api", "grpc"]


class Signal(Event):
    """An event whose `set` waits for nobody.

    `multiprocessing`'s own waits until all who wait for it have woken up. Dagster's code server sets one per run that
    is to be terminated, under the lock that it needs for every other run: a run whose process is stopped, or was just
    killed, would hold up everything, for ever.
    """

    _flag: Any

    def is_set(self) -> bool:
        return self.wait(0)

    def set(self) -> None:
        if not self.is_set():
            self._flag.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False when it was not after `timeout` seconds."""
        if not self._flag.acquire(True, timeout):
            return False
        self._flag.release()  # it stays set, for the next who asks
        return True


def is_code_server() -> bool:
    """Whether this process is the one that Dagster starts to serve definitions and to start runs."""
    is_main = multiprocessing.parent_process() is None
    return is_main and sys.platform == "linux" and sys.argv[1:3] == _COMMAND


def keep_runs_warm() -> None:
    """Have this process, a code server, fork its runs, and prepare the process that they are forked from."""
    # The code server asks this context, of which there is one per process, for what a run needs.
    spawning = cast("Any", multiprocessing.get_context("spawn"))
    spawning.Process = multiprocessing.get_context("forkserver").Process
    spawning.Event = lambda: Signal(ctx=spawning)
    forkserver.set_forkserver_preload([PRELOADED])
    forkserver.ensure_running()
