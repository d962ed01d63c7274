"""The rules that the database holds by itself, also against somebody who writes past the store."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId
from pymongo.errors import DuplicateKeyError, WriteError

from tests.integration.queue_helpers import DELIVERED, ERROR, in_processes, new_export, queued, triggered
from vfexport_core.errors import InitialisationFailed
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.queue.schema import INDEXES

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer

    Documents = Database[dict[str, Any]]

NOW = datetime(2025, 1, 1, tzinfo=UTC)
VALIDATION_FAILED = 121
CANNOT_CREATE_INDEX = 67
INDEX_NAMES = {"_id_", *(index.document["name"] for index in INDEXES)}


@pytest.fixture
def store(database: Documents) -> ExportRepository:
    store = ExportRepository(database)
    store.initialise()
    return store


def document(**fields: Any) -> dict[str, Any]:
    """A document that may be stored, whatever the way to it was."""
    request = new_export().to_document()
    return {"_id": ObjectId(), **request, "date": {"created": NOW}} | fields


def full_document() -> dict[str, Any]:
    """A document with every field there is."""
    attempt = {"attempt": 1, "runId": "r", "status": "FAILED", "triggered": NOW, "ended": NOW}
    return document(
        status="FINISHED",
        dateKey="17",
        date=dict.fromkeys(["created", "triggered", "finished", "failed", "expired", "canceled"], NOW),
        attempt=2,
        attempts=[{**attempt, "error": dict(ERROR), "bucket": "exportsS3", "keys": ["k"], "settled": True}],
        runId="r",
        progress={"read": 1, "rows": 1, "bytes": 2**40, "updated": NOW},
        bucket="exportsS3",
        key="k",
        count=1,
        bytes=2**40,
        sha256="0f" * 32,
        meta={"skipped": {"byRegion": {"NA": 1}}, "ratio": 0.5, "complete": True},
        error={"code": "c", "message": "m", "payload": "p"},
    )


def _initialise(store: ExportRepository, number: int, item: object) -> bool:
    store.initialise()
    return store.request(new_export())[1]


def test_several_processes_may_initialise_at_once(database: Documents, mongo_server: MongoServer) -> None:
    answers = in_processes(_initialise, mongo_server.uri, database.name, [[None] * 4] * 3)
    assert answers == [True] * 12
    assert set(database.exports.index_information()) == INDEX_NAMES
    with pytest.raises(WriteError):
        database.exports.insert_one({"status": "PENDING"})


def test_initialising_again_changes_nothing(store: ExportRepository, database: Documents) -> None:
    claim = triggered(store)
    before = database.exports.index_information(), database.exports.options(), list(database.exports.find())
    store.initialise()
    assert (database.exports.index_information(), database.exports.options(), list(database.exports.find())) == before
    store.claimed(claim).finish(DELIVERED)


def test_a_collection_that_exists_gets_validator_and_indexes(database: Documents) -> None:
    database.exports.insert_one({"status": "FINISHED", "from": "before"})
    ExportRepository(database).initialise()
    assert set(database.exports.index_information()) == INDEX_NAMES
    with pytest.raises(WriteError):
        database.exports.insert_one({"status": "FINISHED", "from": "after"})
    assert queued(ExportRepository(database))


def test_an_older_database_gets_the_indexes_that_came_since(store: ExportRepository, database: Documents) -> None:
    claim = triggered(store)
    database.exports.drop_index("by_status_and_end")
    store.initialise()
    assert set(database.exports.index_information()) == INDEX_NAMES
    assert store.claimed(claim).finish(DELIVERED)


def test_a_server_without_such_indexes_is_refused(store: ExportRepository, database: Documents) -> None:
    """Amazon DocumentDB, say, has no `$in` in the condition of an index."""
    client = database.client
    data = {"failCommands": ["createIndexes"], "errorCode": CANNOT_CREATE_INDEX}
    client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
    try:
        with pytest.raises(InitialisationFailed, match="MongoDB 6") as caught:
            store.initialise()
    finally:
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    assert caught.value.payload == "exports"


def test_an_index_that_is_in_the_way_is_named(database: Documents) -> None:
    database.exports.create_index("status", name="one_triggered")
    with pytest.raises(InitialisationFailed, match="one_triggered") as caught:
        ExportRepository(database).initialise()
    assert caught.value.payload == "exports"


def test_documents_that_are_in_the_way_are_reported(database: Documents) -> None:
    database.exports.insert_many([{"status": "TRIGGERED"}, {"status": "TRIGGERED"}])
    with pytest.raises(InitialisationFailed, match="one_triggered"):
        ExportRepository(database).initialise()


def test_two_triggered_exports_cannot_be_stored(store: ExportRepository, database: Documents) -> None:
    database.exports.insert_one(document(status="TRIGGERED"))
    other = document()
    database.exports.insert_one(other)
    with pytest.raises(DuplicateKeyError):
        database.exports.insert_one(document(status="TRIGGERED"))
    with pytest.raises(DuplicateKeyError):
        database.exports.update_one({"_id": other["_id"]}, {"$set": {"status": "TRIGGERED"}})


@pytest.mark.parametrize("date_key", [{}, {"dateKey": "17"}])
@pytest.mark.parametrize(("first", "second"), [("PENDING", "PENDING"), ("TRIGGERED", "PENDING")])
def test_two_active_exports_of_one_kind_cannot_be_stored(
    store: ExportRepository, database: Documents, date_key: dict[str, str], first: str, second: str
) -> None:
    campaign = str(ObjectId())
    for status in ("FINISHED", "FAILED", "EXPIRED", "CANCELED", "FINISHED", first):
        database.exports.insert_one(document(campaignId=campaign, status=status, **date_key))
    with pytest.raises(DuplicateKeyError):
        database.exports.insert_one(document(campaignId=campaign, status=second, **date_key))
    database.exports.insert_one(document(campaignId=campaign, status=second, dateKey="18"))


def test_every_field_of_the_specification_can_be_stored(store: ExportRepository, database: Documents) -> None:
    database.exports.insert_many([document(), full_document()])
    several = full_document() | {"keys": ["k", "l"], "sha256": ["0f" * 32] * 2}
    del several["key"]
    database.exports.insert_one(several)


WRONG: dict[str, Any] = {
    "status": "DONE",
    "campaignId": "A" * 24,
    "exportType": "two words",
    "dateKey": "2025-01-01",
    "includeAllMarkets": "yes",
    "correlationId": "Bearer x",
    "source": "cron",
    "date": {},
    "date.created": "2025-01-01",
    "date.deleted": NOW,
    "attempt": "1",
    "attempts": {},
    "attempts.0.status": "DONE",
    "attempts.0.token": "x",
    "attempts.0.error.stack": "Traceback",
    "attempts.0.keys": [1],
    "progress.email": "fan@example.com",
    "progress.rows": -1,
    "count": 1.5,
    "bytes": "70",
    "sha256": "abc",
    "keys": "k",
    "meta": [],
    "meta.email": "fan@example.com",
    "meta.skipped.byRegion.NA": "fan@example.com",
    "meta.list": ["fan@example.com"],
    "error": "it broke",
    "error.stack": "Traceback",
    "error.payload": {"token": "x"},
    "token": "x",
    "authorization": "Bearer x",
    "email": "fan@example.com",
}


def with_field(whole: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(whole)
    *way, last = path.split(".")
    place: Any = changed
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place[last] = value
    return changed


@pytest.mark.parametrize("path", WRONG)
def test_the_validator_refuses_what_is_not_in_the_specification(
    store: ExportRepository, database: Documents, path: str
) -> None:
    good = full_document()
    with pytest.raises(WriteError) as caught:
        database.exports.insert_one(with_field(good, path, WRONG[path]))
    assert caught.value.code == VALIDATION_FAILED
    database.exports.insert_one(good)
    with pytest.raises(WriteError) as caught:
        database.exports.update_one({"_id": good["_id"]}, {"$set": {path: WRONG[path]}})
    assert caught.value.code == VALIDATION_FAILED
    assert database.exports.find_one() == good


@pytest.mark.parametrize("name", sorted(set(document()) - {"_id", "includeAllMarkets"}))
def test_the_validator_refuses_a_document_without(store: ExportRepository, database: Documents, name: str) -> None:
    incomplete = document()
    del incomplete[name]
    with pytest.raises(WriteError):
        database.exports.insert_one(incomplete)
