"""Runs that start at once, and a code location that cannot be jammed.

Dagster's code server starts a process per run, which spends most of a second on importing before it looks for its
export. Here it is forked instead, by the standard library's fork server: a process without threads that has imported
everything beforehand (`preloaded`). For Dagster nothing changes but the time that a start takes: the process is
watched, interrupted and missed when it dies as before, and one that starts cold is as right as one that starts warm.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
from multiprocessing import forkserver, popen_forkserver, process
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, cast

from vfexport_core.process_flag import ProcessFlag
from vfexport_dagster.startup.known import is_wanted

PRELOADED = "vfexport_dagster.startup.preloaded"
_SWITCH = "FORKED_RUNS"

_COMMAND = ["api", "grpc"]

_log = logging.getLogger(__name__)


def fork_runs_if_wanted() -> None:
    """Have this process fork its runs if it is a code server, of a Dagster that is known, and nobody is against it."""
    if is_code_server() and is_wanted(_SWITCH):
        fork_runs()


def is_code_server() -> bool:
    """Return whether this process is the one that Dagster starts to serve definitions and to start runs."""
    is_main = multiprocessing.parent_process() is None
    return is_main and sys.platform == "linux" and sys.argv[1:3] == _COMMAND


def fork_runs() -> None:
    """Have this process, a code server, fork its runs, and prepare the process that they are forked from."""
    # The code server asks this context, of which there is one per process, for what a run needs.
    spawning = cast("Any", multiprocessing.get_context("spawn"))
    spawning.Process = ForkedProcess
    # One per run that is to be terminated is set under the lock that it needs for every other run.
    spawning.Event = lambda: ProcessFlag(spawning)
    forkserver.set_forkserver_preload([PRELOADED])
    forkserver.ensure_running()


class ForkedProcess(ForkServerProcess):
    """A process that is forked from the prepared one, or from a new one if that cannot be reached any more."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 the name that multiprocessing looks for
        renew_if_unreachable()
        return popen_forkserver.Popen(process_obj)


def renew_if_unreachable() -> None:
    """Prepare a new process when the socket of the present one is gone.

    The socket lies in a temporary folder, from which the system may take what is days old. The process without a socket
    is left alone: a run that was forked from it may still be going on, whose end only that process can tell.
    """
    server = cast("Any", forkserver)._forkserver  # noqa: SLF001 there is no other way to it
    address = server._forkserver_address  # noqa: SLF001
    if address is None or Path(address).exists():
        return
    _log.warning("the fork server's socket is gone; a new one is started")
    server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None  # noqa: SLF001
    # The folder of all such things went with it; without this one, a new one is made.
    cast("Any", process.current_process())._config.pop("tempdir", None)  # noqa: SLF001
    forkserver.ensure_running()
