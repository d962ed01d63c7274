"""What Dagster does anew for each run, done once: for all runs that are forked from one process, and in its daemon.

Harmless where it is done in vain: with PostgreSQL, say, no migrations are looked at.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dagster._core.storage.event_log.sqlite.sqlite_event_log as event_log
import dagster._core.storage.runs.sqlite.sqlite_run_storage as runs
import dagster._core.storage.schedules.sqlite.sqlite_schedule_storage as schedules
from alembic.script import ScriptDirectory
from dagster._core.execution import compute_logs
from dagster._core.storage.sql import create_engine, get_alembic_config

from vfexport_core.telemetry.mirrored_output import can_mirror, mirrored

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from alembic.config import Config
    from sqlalchemy import Engine

STORAGES = (event_log, runs, schedules)
"""Dagster's storages in SQLite."""
_MOST_ENGINES = 16


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

    setattr(ScriptDirectory, "from_config", staticmethod(from_config))  # noqa: B010 it has another type


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
        setattr(storage, "create_engine", create)  # noqa: B010 as above


def watch_no_tails() -> None:
    """Have this process, where `tail` can do that, mirror its output without two processes that watch two others.

    Dagster mirrors what a run prints by a `tail` for each of its streams, and starts an interpreter for each that ends
    it if the run is killed. GNU's ends by itself then.
    """
    if can_mirror():
        setattr(compute_logs, "execute_posix_tail", _tail)  # noqa: B010 as above


@contextmanager
def _tail(path: str, stream: Any) -> Generator[tuple[int, None]]:
    """Mirror as Dagster does, which relies on the moment that it waits, none by default, and prints the rest mostly."""
    with mirrored(path, stream, float(os.getenv("DAGSTER_COMPUTE_LOG_TAIL_WAIT_AFTER_FINISH", "0"))) as pid:
        yield pid, None
