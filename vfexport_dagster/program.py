"""Dagster's own programs as they run in production: ``python -m vfexport_dagster.program dagster-daemon run ...``.

By themselves they write another shape of JSON, and what other libraries log as plain text: here all of it goes through
one handler, in the form of `vfexport_core.telemetry.logs`. And the daemon opens a connection to PostgreSQL for every
question it asks, dozens a second even when nothing happens, of which a third is whether a table is there: here it keeps
its connections, as Dagster's web server does, and what it knows of the table. What else they do is unchanged.
"""

from __future__ import annotations

import logging
import sys
from importlib.metadata import entry_points
from typing import Any

import dagster as dg
import uvicorn.config
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
from dagster._utils import log as dagster_log

from vfexport_core.telemetry.logs import log_to_stderr, logging_config, wanted_format

_DAEMON = "dagster-daemon"
# Longer than any of its queries takes; a connection that a proxy has dropped is not kept for ever.
_STATEMENT_MILLIS = 60_000
_RECYCLE_SECONDS = 600
_MORE_CONNECTIONS = 20
_HAS_TABLE = "_has_instigators_table"
_NAMES = ("dagster", "dagit", "dagster-webserver")


def main() -> None:
    """Run the program that the first argument names, with the others."""
    _, program, *arguments = sys.argv
    log_in_one_shape()
    if program == _DAEMON:
        keep_connections()
        ask_once_for_the_table()
    sys.argv = [program, *arguments]
    (script,) = entry_points(group="console_scripts", name=program)
    sys.exit(script.load()())


def keep_connections() -> None:
    """Have this process keep its connections to Dagster's storage; SQLite has none to keep."""
    get = dg.DagsterInstance.get

    def get_with_connections() -> dg.DagsterInstance:
        instance = get()
        instance.optimize_for_webserver(_STATEMENT_MILLIS, _RECYCLE_SECONDS, _MORE_CONNECTIONS)
        return instance

    setattr(dg.DagsterInstance, "get", staticmethod(get_with_connections))  # noqa: B010 it is a method of the class


def ask_once_for_the_table() -> None:
    """Have this process remember that the table of sensors' states is there, once it was."""
    found: list[bool] = []
    look = getattr(SqlScheduleStorage, _HAS_TABLE)

    def is_there(storage: SqlScheduleStorage, connection: Any) -> bool:
        if not found and look(storage, connection):
            found.append(True)
        return bool(found)

    setattr(SqlScheduleStorage, _HAS_TABLE, is_there)


def log_in_one_shape() -> None:
    """Have Dagster, and the server of its UI, configure their loggers as this service does."""
    configure = dagster_log.configure_loggers

    def configure_as_ours(handler: str = "default", formatter: str = "json", log_level: str | int = "INFO") -> None:
        configure(handler, formatter, log_level)
        for name in _NAMES:
            logging.getLogger(name).handlers.clear()
        log_to_stderr()
        logging.captureWarnings(capture=True)

    dagster_log.configure_loggers = configure_as_ours  # each program asks for it when it starts
    uvicorn.config.LOGGING_CONFIG.clear()
    # Whoever looks at the UI is not worth a line.
    uvicorn.config.LOGGING_CONFIG.update(
        logging_config(wanted_format()) | {"loggers": {"uvicorn.access": {"level": "WARNING"}}}
    )


if __name__ == "__main__":
    main()
