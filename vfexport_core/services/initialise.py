"""Setting up the service's own collections (`vfexport init`), and refusing to work on ones that are not set up.

The queue's rules are held by unique indexes and validators; without them nothing but luck keeps two exports apart. So a
process looks at them once, before its first write, and the schema's version tells it whether what it sees is its own.

Versions: what a version of the service sets up, the one before it can work on. `vfexport init` of a new version is run
first, then its processes are rolled out; a roll-back needs no more than the old processes, whose `init` leaves a newer
schema as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from vfexport_core.ccpa import file_index
from vfexport_core.ccpa import schema as deletions
from vfexport_core.ccpa.repository import DeletionRepository
from vfexport_core.errors import NotInitialized
from vfexport_core.mongo.own_collections import AUDIT, CONTROL, DELETIONS, EXPORTS, FILE_INDEX, OUTBOX, open_owned
from vfexport_core.mongo.retry import DEFAULT_LIMITS, RetryLimits, with_retries
from vfexport_core.mongo.schema_setup import NO_VALIDATOR, missing_indexes, read_validators
from vfexport_core.queue import audit, outbox
from vfexport_core.queue import schema as exports
from vfexport_core.queue.repository import ExportRepository

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo import IndexModel
    from pymongo.database import Database

    Documents = Database[dict[str, Any]]

SCHEMA_VERSION = 3
"""Raised by one whenever a validator or an index changes; a test holds it against them."""
OLDEST_VERSION = 1
"""The oldest version of the service that can work on this schema: the one before, at least."""

_ID = "schema"
_RUN_INIT = "run `vfexport init`"


@dataclass(frozen=True, slots=True)
class _Owned:
    collection: str
    indexes: Sequence[IndexModel]
    validator: dict[str, Any]


OWNED = (
    _Owned(EXPORTS, exports.INDEXES, exports.VALIDATOR),
    _Owned(DELETIONS, deletions.INDEXES, deletions.VALIDATOR),
    _Owned(FILE_INDEX, file_index.INDEXES, file_index.VALIDATOR),
    _Owned(AUDIT, audit.INDEXES, audit.VALIDATOR),
    _Owned(OUTBOX, outbox.INDEXES, outbox.VALIDATOR),
)


def initialise(database: Documents, limits: RetryLimits = DEFAULT_LIMITS) -> None:
    """Create validators and indexes, or bring them up to date, and record the schema's version behind them.

    Idempotent, and safe in several processes at once; a schema of a newer version is left as it is. Raises
    InitialisationFailed when what exists is in the way, SourceUnavailable.
    """
    control = open_owned(database, CONTROL)
    found = with_retries(control, lambda: control.find_one({"_id": _ID}), limits)
    if found is not None and found["version"] > SCHEMA_VERSION:
        return
    ExportRepository(database, limits).initialise()
    DeletionRepository(database, limits).initialise()
    file_index.FileIndex(database, limits).initialise()
    audit.AuditLog(database, limits).initialise()
    outbox.Outbox(database, limits).initialise()
    change = {"$max": {"version": SCHEMA_VERSION, "oldest": OLDEST_VERSION}}
    with_retries(control, lambda: control.update_one({"_id": _ID}, change, upsert=True), limits)


def check_initialised(database: Documents, limits: RetryLimits = DEFAULT_LIMITS) -> None:
    """Raise NotInitialized unless all is set up that this version relies on; SourceUnavailable."""
    control = open_owned(database, CONTROL)
    found = with_retries(control, lambda: control.find_one({"_id": _ID}), limits)
    if found is None or found["version"] < SCHEMA_VERSION:
        state = "is not set up" if found is None else f"is set up for an older version ({found['version']})"
        raise NotInitialized(f"database {database.name} {state}: {_RUN_INIT}", payload=CONTROL)
    if found["oldest"] > SCHEMA_VERSION:
        raise NotInitialized(
            f"database {database.name} is set up for a newer version ({found['version']}), which this one "
            f"({SCHEMA_VERSION}) cannot work on: run the newer one",
            payload=CONTROL,
        )
    collections = [open_owned(database, owned.collection) for owned in OWNED]
    # A newer version's are others; the rules that this version knows are among its rules.
    is_newer = found["version"] > SCHEMA_VERSION
    validators = {} if is_newer else with_retries(control, lambda: read_validators(collections), limits)
    for owned, collection in zip(OWNED, collections, strict=True):
        wrong = with_retries(collection, partial(missing_indexes, collection, owned.indexes), limits)
        if not is_newer and validators.get(owned.collection) != owned.validator:
            wrong.append(NO_VALIDATOR)
        if wrong:
            told = "; ".join(sorted(wrong))
            raise NotInitialized(f"collection {owned.collection}: {told}: {_RUN_INIT}", payload=CONTROL)
