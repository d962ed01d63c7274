"""Dagster's long-lived processes with connections that stay.

By themselves the daemon and the code location open a connection to PostgreSQL for every question that they ask, dozens
a second even when nothing happens; the code location does so three times for each tick of a sensor before it asks
anything. A third of the daemon's questions is whether its tables are as a migration has made them. Here they keep their
connections, as Dagster's web server does, and what they know of the tables. A connection that the server has closed,
because it was started again or has had a failover, is replaced before anything is asked; one whose server is gone
without a word is given up by TCP, after as long as the instance's configuration says (``params``).
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
from dagster._core.instance import factory
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster._core.instance.ref import InstanceRef

# Longer than any of their queries takes; a connection that a proxy has dropped is not kept for ever.
_STATEMENT_MILLIS = 60_000
_RECYCLE_SECONDS = 600
_MORE_CONNECTIONS = 20
_MOST_INSTANCES = 4
"""Daemon and web server may name the same instance in two ways, and in another one after they were configured anew."""

MIGRATIONS = (
    (SqlScheduleStorage, "_has_instigators_table"),
    (SqlScheduleStorage, "has_built_index"),
    (SqlRunStorage, "has_run_stats_index_cols"),
)
"""Questions whose answer stays yes once it was: whether a migration has been made."""


class KeptInstance(dg.DagsterInstance):
    """An instance that whoever has it for a moment does not close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep it."""


def keep_connections() -> None:
    """Have this process keep its connections to Dagster's storage and what it knows of it; SQLite has none."""
    keep_instances()
    remember_migrations()
    event.listen(Pool, "checkout", refuse_closed)


def keep_instances() -> None:
    """Have this process keep its instances, and each its connections: a code server makes one for each tick."""
    make, kept = factory.create_instance_from_ref, list[dg.DagsterInstance]()

    def find_or_make(ref: InstanceRef) -> dg.DagsterInstance:
        for instance in kept:
            if instance.get_ref() == ref:
                return instance
        instance = make(ref)
        if len(kept) < _MOST_INSTANCES and type(instance) is dg.DagsterInstance:
            instance.optimize_for_webserver(_STATEMENT_MILLIS, _RECYCLE_SECONDS, _MORE_CONNECTIONS)
            setattr(instance, "__class__", KeptInstance)  # noqa: B010 nobody else makes one
            kept.append(instance)
        return instance

    setattr(factory, make.__name__, find_or_make)


def refuse_closed(connection: Any, *_: object) -> None:
    """Raise DisconnectionError, upon which the pool opens another one, for a connection that the server has closed.

    Nobody has asked it anything, so that whatever there is to be read is its end. SQLite's connections are no sockets.
    """
    if hasattr(connection, "fileno"):
        socket = select.poll()
        socket.register(connection, select.POLLIN)
        if socket.poll(0):
            raise DisconnectionError("closed by the server")


def remember_migrations() -> None:
    """Have this process remember which migrations of the storage have been made."""
    for storage, question in MIGRATIONS:
        setattr(storage, question, _remembered(getattr(storage, question)))


def _remembered(ask: Callable[..., bool]) -> Callable[..., bool]:
    made: set[tuple[str, ...]] = set()

    def is_made(storage: Any, *arguments: Any) -> bool:
        about = tuple(argument for argument in arguments if isinstance(argument, str))
        if about not in made and ask(storage, *arguments):
            made.add(about)
        return about in made

    return is_made
