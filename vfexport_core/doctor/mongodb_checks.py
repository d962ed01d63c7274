"""MongoDB: does it answer, is it new enough, and does it hold the rules that the queue relies on."""

from __future__ import annotations

import time
from datetime import UTC
from typing import TYPE_CHECKING, Any

from vfexport_core.catalog import all_specs
from vfexport_core.ccpa import file_index as file_index_schema
from vfexport_core.ccpa import schema as deletions_schema
from vfexport_core.doctor.checks import Check, Finding, clock_finding, failed, ok, warning
from vfexport_core.mongo.client import opened, reading
from vfexport_core.mongo.own_collections import DELETIONS, EXPORTS, FILE_INDEX
from vfexport_core.mongo.schema_setup import DIFFERS, differences
from vfexport_core.queue import schema as exports
from vfexport_core.queue.breakers import BucketBreakers
from vfexport_core.queue.pause import QueuePause
from vfexport_core.services.initialise import SCHEMA_VERSION, check_initialised
from vfexport_core.sources.needed_indexes import MissingIndex, missing_source_indexes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymongo import IndexModel
    from pymongo.collection import Collection
    from pymongo.database import Database

    from vfexport_core.settings import Settings

# The driver looks for a server for five seconds.
_SECONDS = 15.0
_OLDEST = (6, 0)
_INIT = "Run `vfexport init`."
_NO_RULES = (
    "Drop it and run `vfexport init`. If it comes back like this, the server cannot hold the queue's rules "
    "(Amazon DocumentDB cannot): use MongoDB 6 or newer."
)


def mongodb_checks(settings: Settings) -> list[Check]:
    """Return the checks of MongoDB itself, of our collections, of the indexes on the collections of others."""

    def server() -> Iterator[Finding]:
        with opened(settings) as database:
            yield from _server(database)

    def queue() -> Iterator[Finding]:
        with opened(settings) as database:
            yield _owned("queue", database[EXPORTS], exports.INDEXES, exports.VALIDATOR)

    def deletions() -> Iterator[Finding]:
        with opened(settings) as database:
            yield _owned("ccpa deletions", database[DELETIONS], deletions_schema.INDEXES, deletions_schema.VALIDATOR)

    def file_index() -> Iterator[Finding]:
        with opened(settings) as database:
            yield _owned(
                "ccpa file index", database[FILE_INDEX], file_index_schema.INDEXES, file_index_schema.VALIDATOR
            )

    def hanging() -> Iterator[Finding]:
        with opened(settings) as database:
            yield from _hanging(BucketBreakers(database))

    def pause() -> Iterator[Finding]:
        with opened(settings) as database:
            yield _pause(QueuePause(database))

    def schema() -> Iterator[Finding]:
        with opened(settings) as database:
            check_initialised(database)
        yield ok("schema", f"version {SCHEMA_VERSION}")

    def sources() -> Iterator[Finding]:
        with opened(settings) as database:
            yield from _sources(database)

    return [
        Check("mongodb", _SECONDS, server),
        Check("queue", _SECONDS, queue),
        Check("ccpa deletions", _SECONDS, deletions),
        Check("ccpa file index", _SECONDS, file_index),
        Check("hanging buckets", _SECONDS, hanging),
        Check("pause", _SECONDS, pause),
        Check("schema", _SECONDS, schema),
        Check("source indexes", _SECONDS, sources),
    ]


def _server(database: Database[dict[str, Any]]) -> Iterator[Finding]:
    with reading(database.name):
        version: str = database.command("buildInfo")["version"]
        asked = time.time()
        hello = database.command("hello")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < _OLDEST:
        yield failed("mongodb", f"version {version}", "MongoDB 6 or newer is needed: unique indexes would not hold.")
    elif "setName" not in hello and hello.get("msg") != "isdbgrid":
        yield warning(
            "mongodb", f"version {version}, no replica set", "Use a replica set: writes then survive a failover."
        )
    else:
        yield ok("mongodb", f"version {version}, database {database.name}")
    if (told := hello.get("localTime")) is not None:
        yield clock_finding("mongodb clock", told.replace(tzinfo=UTC), asked)


def _owned(
    name: str, collection: Collection[dict[str, Any]], indexes: Sequence[IndexModel], validator: dict[str, Any]
) -> Finding:
    with reading(collection.name):
        found = differences(collection, indexes, validator)
    if found:
        hint = _NO_RULES if any(DIFFERS in text for text in found) else _INIT
        return failed(name, f"collection {collection.name}: {'; '.join(found)}", hint)
    return ok(name, f"collection {collection.name}: all indexes and the validator are in place")


def _hanging(breakers: BucketBreakers) -> Iterator[Finding]:
    found = breakers.all_open().values()
    for breaker in found:
        yield failed(
            "hanging buckets",
            f"{breaker}: exports into it wait, and it is tried again at {breaker.probe_due:%H:%M:%S} UTC",
            "Find out why it does not answer; nothing else has to be done once it does.",
        )
    if not found:
        yield ok("hanging buckets", "none")


def _pause(queue: QueuePause) -> Finding:
    found = queue.read()
    if found is None:
        return ok("pause", "the queue is open")
    return warning("pause", str(found), "Nothing begins until somebody runs `vfexport queue resume`.")


def _sources(database: Database[dict[str, Any]]) -> Iterator[Finding]:
    missing = missing_source_indexes(database, all_specs())
    yield from dict.fromkeys(map(_missing, missing))  # several may be wanted of a collection that is not there
    if not missing:
        yield ok("source indexes", "none is missing")


def _missing(item: MissingIndex) -> Finding:
    collection = item.index.collection
    if not item.collection_exists:
        return warning(
            "source indexes", f"collection {collection} does not exist", "Check VFEXPORT_MONGO_DATABASE, or create it."
        )
    create = f"db.{collection}.createIndex({item.index.specification})"
    return warning("source indexes", f"{collection} has no index {item.index.specification}", f"Create it: {create}")
