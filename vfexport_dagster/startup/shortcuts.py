"""What Dagster does anew for each run, done once: for all runs that are forked from one process, and in its daemon.

Harmless where it is done in vain: with PostgreSQL, say, no migrations are looked at.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster._core.storage.event_log.sqlite.sqlite_event_log as event_log
import dagster._core.storage.runs.sqlite.sqlite_run_storage as runs
import dagster._core.storage.schedules.sqlite.sqlite_schedule_storage as schedules
from alembic.script import ScriptDirectory
from dagster._core.execution import compute_logs
from dagster._core.storage.sql import get_alembic_config

if TYPE_CHECKING:
    from collections.abc import Generator

    from alembic.config import Config

_FROM_CONFIG = "from_config"
_TAIL = "execute_posix_tail"


def read_migrations_once() -> None:
    """Have this process read the migrations of Dagster's storage once.

    A run that keeps its events in SQLite has a database for them, which every process opens that has something to do
    with the run; and each time some ninety scripts are loaded to see which is the last: 40 ms of a processor.
    """
    read = ScriptDirectory.from_config
    known: dict[tuple[str | None, str | None], ScriptDirectory] = {}

    def from_config(config: Config) -> ScriptDirectory:
        key = config.config_file_name, config.get_main_option("script_location")
        if key not in known:
            known[key] = read(config)
        return known[key]

    setattr(ScriptDirectory, _FROM_CONFIG, staticmethod(from_config))


def read_migrations() -> None:
    """Read them now, for all processes that are forked from this one."""
    for storage in (event_log, runs, schedules):
        ScriptDirectory.from_config(get_alembic_config(storage.__file__)).as_revision_number("head")


def watch_no_tails() -> None:
    """Have this process, where `tail` can do that, mirror its output without two processes that watch two others.

    Dagster mirrors what a run prints by a `tail` for each of its streams, and starts an interpreter for each that ends
    it if the run is killed. GNU's ends by itself then.
    """
    if _tail_can_wait_for_processes():
        setattr(compute_logs, _TAIL, _tail)


def _tail_can_wait_for_processes() -> bool:
    try:
        done = subprocess.run(["tail", "--version"], capture_output=True, check=False)  # noqa: S607 as Dagster does
    except OSError:
        return False
    return b"GNU coreutils" in done.stdout


@contextmanager
def _tail(path: str, stream: Any) -> Generator[tuple[int, None]]:
    """Print what is written to the file at `path`, until the block or this process ends."""
    command = ["tail", "-F", "-c", "+0", f"--pid={os.getpid()}", path]
    process = subprocess.Popen(command, stdout=stream)  # noqa: S603 a path of our own
    try:
        yield process.pid, None
    finally:
        process.terminate()
        process.wait()
