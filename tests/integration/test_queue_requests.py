from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId

from tests.integration.queue_helpers import DELIVERED, ERROR, in_processes, new_export, queued, triggered
from vfexport_core.errors import CampaignNotFound, ExportNotFound, InvalidRequest
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.repository import ExportRepository

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer

    Documents = Database[dict[str, Any]]


@pytest.fixture
def store(database: Documents) -> ExportRepository:
    store = ExportRepository(database)
    store.initialise()
    return store


def test_a_request_becomes_a_pending_document(store: ExportRepository, database: Documents) -> None:
    new = new_export(campaign_name="$100 tour", date_key="1735689600000", include_all_markets=True)
    export, created = store.request(new)
    assert created
    assert export.status is ExportStatus.PENDING
    assert (export.attempt, export.attempts, export.run_id) == (1, (), None)
    assert (export.campaign_id, export.campaign_name) == (new.campaign_id, "$100 tour")
    assert (export.date_key, export.include_all_markets, export.source) == ("1735689600000", True, "api")
    assert store.get(export.id) == export
    assert store.get(export.id, new.campaign_id.upper()) == export
    document = database.exports.find_one()
    assert document is not None
    assert set(document) == {
        *("_id", "campaignId", "campaignName", "exportType", "status", "dateKey", "includeAllMarkets"),
        *("requesterUserId", "correlationId", "source", "date", "attempt", "attempts"),
    }


def test_created_is_the_servers_time_to_the_millisecond(store: ExportRepository, database: Documents) -> None:
    def server_time() -> datetime:
        return database.client.admin.command("hello")["localTime"].replace(tzinfo=UTC)

    before = server_time()
    created = queued(store).date.created
    assert before - timedelta(milliseconds=1) <= created <= server_time() + timedelta(milliseconds=1)
    assert created.microsecond % 1000 == 0


def test_while_one_is_active_a_request_gives_that_one(store: ExportRepository) -> None:
    new = new_export()
    first, _ = store.request(new)
    assert store.request(new) == (first, False)
    assert store.request(new_export(campaign_id=new.campaign_id.upper(), source="dagster")) == (first, False)
    claim, running = store.claim(first.id, "run-1")
    assert store.request(new) == (running, False)
    store.claimed(claim).finish(DELIVERED)
    second, created = store.request(new)
    assert created
    assert second.id != first.id


def test_other_campaigns_types_and_dates_are_other_exports(store: ExportRepository) -> None:
    campaign = str(ObjectId())
    ids = {
        queued(store, campaign_id=campaign).id,
        queued(store).id,
        queued(store, campaign_id=campaign, export_type="scoring").id,
        queued(store, campaign_id=campaign, export_type="codeWaves", date_key="1").id,
        queued(store, campaign_id=campaign, export_type="codeWaves", date_key="2").id,
    }
    assert len(ids) == 5
    again, created = store.request(new_export(campaign_id=campaign, export_type="codeWaves", date_key="2"))
    assert again.id in ids
    assert not created


def test_an_insertion_done_again_after_its_answer_was_lost_changes_nothing(
    store: ExportRepository, database: Documents
) -> None:
    export_id, document = ObjectId(), new_export().to_document()
    first = store._insert_or_find(export_id, document)
    store.close_run(str(export_id), "run-1", ExportStatus.FAILED, ERROR, attempt=1)
    failed = database.exports.find_one()
    assert store._insert_or_find(export_id, document) == failed
    assert first is not None
    assert failed is not None
    assert failed["date"]["created"] == first["date"]["created"]
    assert list(database.exports.find()) == [failed]


@pytest.mark.parametrize("campaign_id", ["", "nonsense", "a" * 23, "g" * 24, "a" * 1000])
def test_a_campaign_id_that_is_none(store: ExportRepository, campaign_id: str) -> None:
    with pytest.raises(CampaignNotFound) as caught:
        store.request(new_export(campaign_id=campaign_id))
    assert len(caught.value.payload or "") <= 64


def _request(store: ExportRepository, number: int, new: Any) -> tuple[str, bool]:
    export, created = store.request(new)
    return export.id, created


def test_200_concurrent_requests_from_4_processes_make_one_document(
    store: ExportRepository, database: Documents, mongo_server: MongoServer
) -> None:
    new = new_export()
    answers = in_processes(_request, mongo_server.uri, database.name, [[new] * 50] * 4)
    assert len(answers) == 200
    assert len({export_id for export_id, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    assert database.exports.count_documents({}) == 1


def _request_and_end(store: ExportRepository, number: int, new: Any) -> str:
    """Request, and end what there is: makes active ones vanish between another's insertion and its look at it."""
    export, _ = store.request(new)
    store.close_run(export.id, f"run-{number}", ExportStatus.FAILED, ERROR, attempt=1)
    return export.id


def test_requests_while_the_active_one_keeps_ending(
    store: ExportRepository, database: Documents, mongo_server: MongoServer
) -> None:
    new = new_export()
    answers = in_processes(_request_and_end, mongo_server.uri, database.name, [[new] * 10] * 4)
    assert {str(document["_id"]) for document in database.exports.find()} == set(answers)
    assert database.exports.count_documents({"status": {"$ne": "FAILED"}}) == 0


@pytest.mark.parametrize("export_id", ["", "nonsense", "g" * 24, "0" * 24, "a" * 1000])
def test_an_export_that_does_not_exist(store: ExportRepository, export_id: str) -> None:
    with pytest.raises(ExportNotFound) as caught:
        store.get(export_id)
    assert len(caught.value.payload or "") <= 64


def test_an_export_of_another_campaign_is_not_found(store: ExportRepository) -> None:
    export = queued(store)
    for campaign_id in (str(ObjectId()), "nonsense"):
        with pytest.raises(ExportNotFound):
            store.get(export.id, campaign_id)


def _created_at(database: Documents, export_id: str, created: datetime) -> None:
    database.exports.update_one({"_id": ObjectId(export_id)}, {"$set": {"date.created": created}})


def test_pending_ones_come_oldest_first_and_ties_by_id(store: ExportRepository, database: Documents) -> None:
    ids = [queued(store).id for _ in range(6)]
    base = datetime(2025, 1, 1, tzinfo=UTC)
    for export_id, second in zip(ids, [5, 3, 3, 1, 4, 0], strict=True):
        _created_at(database, export_id, base + timedelta(seconds=second))
    expected = [ids[5], ids[3], *sorted(ids[1:3]), ids[4], ids[0]]
    assert [export.id for export in store.pending(10)] == expected
    assert [export.id for export in store.pending(2)] == expected[:2]
    store.claim(ids[5], "run-1")
    assert [export.id for export in store.pending(10)] == expected[1:]
    running = store.running()
    assert running is not None
    assert running.id == ids[5]


def test_nothing_runs_in_an_empty_queue(store: ExportRepository) -> None:
    assert store.running() is None
    assert store.pending(5) == []
    assert store.list() == []


def test_pages_hold_every_export_once_whatever_is_added_or_removed(
    store: ExportRepository, database: Documents
) -> None:
    ids = [queued(store).id for _ in range(25)]
    base = datetime(2025, 1, 1, tzinfo=UTC)
    for number, export_id in enumerate(ids):
        _created_at(database, export_id, base + timedelta(milliseconds=number // 4))  # four share a time
    newest_first = [export.id for export in store.list(limit=200)]
    assert sorted(newest_first) == sorted(ids)
    assert [export.id for export in store.list(limit=200, descending=False)] == newest_first[::-1]
    seen: list[str] = []
    after = None
    while page := store.list(limit=7, after=after):
        seen += [export.id for export in page]
        after = page[-1].position
        queued(store)  # newer than every page to come
        database.exports.delete_one({"_id": ObjectId(page[0].id)})  # and one that was seen goes
    assert seen == newest_first


def test_a_page_in_ascending_order_goes_on_behind_its_end(store: ExportRepository) -> None:
    ids = [queued(store).id for _ in range(9)]
    whole = store.list(descending=False)
    assert sorted(export.id for export in whole) == sorted(ids)
    assert store.list(descending=False, after=whole[3].position, limit=3) == whole[4:7]
    assert store.list(descending=False, after=whole[-1].position) == []


def test_a_list_can_be_narrowed(store: ExportRepository) -> None:
    campaign = str(ObjectId())
    entries = queued(store, campaign_id=campaign)
    scoring = queued(store, campaign_id=campaign, export_type="scoring")
    claim = triggered(store)
    assert {export.id for export in store.list(campaign_id=campaign.upper())} == {entries.id, scoring.id}
    assert [export.id for export in store.list(campaign_id=campaign, export_type="scoring")] == [scoring.id]
    assert [export.id for export in store.list(status=ExportStatus.TRIGGERED)] == [claim.export_id]
    assert store.list(campaign_id=campaign, status=ExportStatus.TRIGGERED) == []


def test_a_position_that_is_none_is_refused(store: ExportRepository) -> None:
    with pytest.raises(InvalidRequest):
        store.list(after=(datetime(2025, 1, 1, tzinfo=UTC), "nonsense"))
