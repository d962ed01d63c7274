"""What Dagster does anew for each run, done once: for all runs that are forked from one process, and in its daemon.

Harmless where it is done in vain: with PostgreSQL, say, no migrations are looked at.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster._core.storage.event_log.sqlite.sqlite_event_log as event_log
import dagster._core.storage.runs.sqlite.sqlite_run_storage as runs
import dagster._core.storage.schedules.sqlite.sqlite_schedule_storage as schedules
from alembic.script import ScriptDirectory
from dagster._core.execution import compute_logs
from dagster._core.storage.sql import create_engine, get_alembic_config

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from alembic.config import Config
    from sqlalchemy import Engine

STORAGES = (event_log, runs, schedules)
"""Dagster's storages in SQLite."""
_MOST_ENGINES = 16
_CREATE_ENGINE = "create_engine"
_FROM_CONFIG = "from_config"
_TAIL = "execute_posix_tail"
_LONGEST_PRINTING_SECONDS = 5.0
_LONGEST_END_SECONDS = 30.0
_PAUSE_SECONDS = 0.001


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
    for storage in STORAGES:
        ScriptDirectory.from_config(get_alembic_config(storage.__file__)).as_revision_number("head")


def make_engines_once() -> None:
    """Have this process make one engine of SQLAlchemy for each SQLite database that it works with.

    Dagster makes one for each connection, none of which knows what the one before has learnt of the database, and of
    how to write its statements. That is more than what the database does. An engine keeps no connection (`NullPool`).
    """

    @lru_cache(_MOST_ENGINES)
    def make(url: str, pool: Any, arguments: tuple[tuple[str, Any], ...]) -> Engine:
        return create_engine(url, poolclass=pool, connect_args=dict(arguments))

    def create(url: str, *, poolclass: Any, connect_args: Mapping[str, Any] = {}) -> Engine:
        return make(url, poolclass, tuple(connect_args.items()))

    for storage in STORAGES:
        setattr(storage, _CREATE_ENGINE, create)


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
    """Print what is written to the file at `path`, all of it when the block ends, until then or this process' end."""
    command = ["tail", "-F", "-c", "+0", f"--pid={os.getpid()}", path]
    process = subprocess.Popen(command, stdout=stream if _has_number(stream) else None)  # noqa: S603 a path of our own
    try:
        yield process.pid, None
    finally:
        # As Dagster does. It relies on the moment that this takes, by default, and prints the last lines mostly.
        time.sleep(float(os.getenv("DAGSTER_COMPUTE_LOG_TAIL_WAIT_AFTER_FINISH", "0")))
        with suppress(OSError):
            _wait_until_printed(process, Path(path))
        with suppress(OSError):
            process.terminate()
            process.wait(_LONGEST_END_SECONDS)


def _wait_until_printed(process: subprocess.Popen[bytes], path: Path) -> None:
    """Wait until a process, which may have ended, has written as much as there is in a file.

    Not for long: nobody may read what it writes. Raises OSError where the kernel does not count that.
    """
    size, deadline = path.stat().st_size, time.monotonic() + _LONGEST_PRINTING_SECONDS
    while process.poll() is None and _written(process.pid) < size and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)


def _written(pid: int) -> int:
    """Return how many bytes a process has written since it began. Raises OSError."""
    counters = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines())
    return int(counters["wchar"])


def _has_number(stream: Any) -> bool:
    """Return whether a stream is one of the operating system's; one that is not cannot be given to a process."""
    try:
        return bool(stream.fileno())
    except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError
        return False
