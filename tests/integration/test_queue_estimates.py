"""The place in the queue: many who ask at a time share one look, and none sees the queue as it was before it asked."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from tests.commands import Commands
from tests.integration.queue_helpers import DELIVERED, ERROR, new_export, triggered
from vfexport_core.errors import SourceUnavailable
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.queue.statistics.estimates import Estimator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def reader(mongo_server: MongoServer, database: Database[Any], commands: Commands) -> Iterator[ExportRepository]:
    with MongoClient[Any](mongo_server.uri, event_listeners=[commands]) as client:
        yield ExportRepository(client[database.name])


@pytest.fixture
def store(database: Database[Any]) -> ExportRepository:
    store = ExportRepository(database)
    store.initialise()
    return store


def test_whoever_came_before_a_look_began_shares_it(
    reader: ExportRepository, store: ExportRepository, commands: Commands
) -> None:
    exports = [store.request(new_export())[0] for _ in range(3)]
    estimator = Estimator(reader, clock=lambda: 0.0)  # all come at the moment at which the first look begins
    places = [estimator.estimate(export) for export in exports]
    assert [place and place.position for place in places] == [1, 2, 3]
    expected = ["find"] * 4 + ["aggregate"]
    assert commands.names == expected, "how long exports take, what waits, what runs, which buckets hang, a pause: once"


def test_whoever_comes_later_sees_what_has_changed(reader: ExportRepository, store: ExportRepository) -> None:
    estimator = Estimator(reader, clock=itertools.count().__next__)
    for position in range(1, 5):
        export, _ = store.request(new_export())
        place = estimator.estimate(export)
        assert place is not None
        assert place.position == position


def test_a_look_that_failed_is_shared_and_then_tried_again(database: Database[Any], store: ExportRepository) -> None:
    export, _ = store.request(new_export())
    nobody = MongoClient[Any]("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=50)
    times = iter([0.0, 0.0, 0.0, 1.0, 1.0])
    estimator = Estimator(ExportRepository(nobody[database.name], RetryLimits(0.1)), clock=lambda: next(times))
    for _ in range(3):
        with pytest.raises(SourceUnavailable):
            estimator.estimate(export)
    nobody.close()
    assert next(times, None) is None, "the second of the three shared the failure of the first"


def test_how_long_exports_took_is_read_from_an_index_newest_first(
    reader: ExportRepository, store: ExportRepository, database: Database[Any], commands: Commands
) -> None:
    for seconds in (3, 1, 2):
        claim = triggered(store, export_type="codes")
        store.claimed(claim).finish(DELIVERED)
        began = {"$subtract": ["$date.finished", seconds * 1_000]}
        database.exports.update_one({"_id": ObjectId(claim.export_id)}, [{"$set": {"date.triggered": began}}])
    failed = triggered(store)
    store.claimed(failed).fail(ERROR)
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    took = [(export_type, duration.total_seconds()) for export_type, duration in reader.durations_since(long_ago, 2)]
    assert took == [("codes", 2), ("codes", 1)]
    assert reader.durations_since(datetime.now(UTC) + timedelta(hours=1), 2) == []
    query = {name: commands.last[name] for name in ("find", "filter", "sort")}
    plan = database.command("explain", query)["queryPlanner"]["winningPlan"]
    assert "by_status_and_end" in str(plan)
    assert "'isMultiKey': False" in str(plan), "an index of arrays would have to be sorted once more"
