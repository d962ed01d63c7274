"""Batches from a real server: the same bytes as by the driver's own raw batches, in one round trip less a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from tests.commands import Commands
from vfexport_core.sources.raw_batches import raw_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.collection import Collection
    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer

DOCUMENTS = 25
PIPELINE = [{"$match": {"n": {"$gte": 0}}}, {"$sort": {"_id": 1}}, {"$project": {"n": 1, "text": 1}}]


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def collection(
    mongo_server: MongoServer, database: Database[Any], commands: Commands
) -> Iterator[Collection[dict[str, Any]]]:
    database["things"].insert_many({"n": n, "text": "é" * n, "list": [n]} for n in range(DOCUMENTS))
    with MongoClient[Any](mongo_server.uri, event_listeners=[commands]) as client:
        yield client[database.name]["things"]


@pytest.mark.parametrize("batch_documents", [1, 7, DOCUMENTS, 1_000])
def test_batches_are_the_drivers_own(collection: Collection[Any], batch_documents: int):
    wanted = b"".join(collection.aggregate_raw_batches(PIPELINE))
    with raw_batches(collection, PIPELINE, batch_documents) as batches:
        found = list(batches)
    assert b"".join(found) == wanted
    assert all(type(batch) is bytes and batch for batch in found)
    assert len(found) >= DOCUMENTS // max(batch_documents, 2)


def test_what_fits_in_one_batch_is_one_round_trip(collection: Collection[Any], commands: Commands):
    with raw_batches(collection, PIPELINE, DOCUMENTS + 1) as batches:
        assert len(list(batches)) == 1
    assert commands.names == ["aggregate"]


def test_nothing_found_is_no_batch(collection: Collection[Any], commands: Commands):
    with raw_batches(collection, [{"$match": {"n": -1}}, *PIPELINE], 10) as batches:
        assert list(batches) == []
    assert commands.names == ["aggregate"]


def test_a_scan_given_up_closes_its_cursor(collection: Collection[Any], commands: Commands):
    with raw_batches(collection, PIPELINE, 3) as batches:
        next(batches)
    assert commands.names == ["aggregate", "killCursors"]


def test_what_the_server_refuses_is_raised_with_its_words(collection: Collection[Any]):
    with (
        pytest.raises(OperationFailure) as caught,
        raw_batches(collection, [{"$noSuchStage": {}}], 3),
    ):
        pytest.fail("there is no such stage")
    assert caught.value.code
    assert caught.value.details
    assert caught.value.details["errmsg"] in str(caught.value)
