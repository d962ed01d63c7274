"""Deleting what was exported of a user: what goes, what stays, what is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId

from tests.builders import object_id
from tests.ccpa import DELETED_TYPES, KEPT_TYPES, USER_ID
from tests.integration.queue_helpers import ERROR
from vfexport_core.errors import ConfigurationError, DeleteFailed, InvalidRequest
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from tests.ccpa import Service
    from vfexport_core.queue.models import Export

OTHERS = (2, 3)


def test_exports_of_the_users_campaigns_go_and_others_stay(service: Service) -> None:
    by_entry = service.add_campaign(1, scored=OTHERS)
    by_scoring = service.add_campaign(2, entries=OTHERS)
    foreign = service.add_campaign(3, entries=OTHERS, scored=OTHERS)
    deleted = [service.exported(by_entry, export_type) for export_type in DELETED_TYPES]
    deleted += [service.exported(by_scoring)]
    kept = [service.exported(by_entry, export_type) for export_type in KEPT_TYPES] + [service.exported(foreign)]
    waiting = service.request(by_entry)
    record = service.delete()
    assert (record.deleted_exports, record.deleted_files) == (len(deleted), len(deleted))
    assert {export.id for export in service.store.list(limit=200)} == {export.id for export in [*kept, waiting]}
    assert {key for _, key in service.files()} == {key for export in kept for key in export.keys}
    assert service.store.get(waiting.id) == waiting
    again = service.delete()
    assert (again.deleted_exports, again.deleted_files) == (0, 0)
    assert [entry["status"] for entry in (service.record(0), service.record(1))] == ["COMPLETE", "COMPLETE"]


def test_the_record_says_everything_but_who_it_was(service: Service) -> None:
    campaign = service.add_campaign(50)
    export = service.exported(campaign)
    record_id = service.delete().id
    record = service.record()
    assert str(record["_id"]) == record_id
    assert record["campaigns"] == [campaign]
    assert (record["requestedBy"], record["correlationId"], record["tries"]) == ("supreme-1", "ccpa-1", 1)
    assert record["deletedCount"] == {"exports": 1, "files": 1}
    assert record["keys"] == [{"bucket": export.bucket, "key": export.keys[0]}]
    assert record["errors"] == []
    assert record["date"]["requested"] <= record["date"]["effective"] <= record["date"]["completed"]
    assert "leaseUntil" not in record
    assert len(record["userHash"]) == 64
    assert USER_ID not in service.stored_text()


def test_a_user_in_no_campaign_is_deleted_with_nothing(service: Service) -> None:
    export = service.exported(service.add_campaign(1, entries=OTHERS, scored=OTHERS))
    for user_id in (USER_ID, "no such user", "1234", "*"):
        record = service.delete(user_id)
        assert (record.is_complete, record.deleted_exports, record.deleted_files) == (True, 0, 0)
        assert record.campaigns == ()
    assert service.store.get(export.id) == export


def test_where_there_are_no_campaigns_and_no_entries_there_is_nothing(service: Service) -> None:
    for name in ("entries", "scoring", "campaigns", "users"):
        service.database.drop_collection(name)
    assert service.delete().campaigns == ()
    assert service.heal_now().left == ()


@pytest.mark.parametrize("stored", [str.lower, str.upper, ObjectId])
@pytest.mark.parametrize("collection", ["entries", "scoring"])
@pytest.mark.parametrize("compound", [True, False], ids=["compound-index", "default-index"])
def test_ids_are_found_in_every_form(service: Service, stored: Any, collection: str, *, compound: bool) -> None:
    user_id = "ab" * 12
    campaign = service.add_campaign(0xABCDEF, entries=OTHERS, scored=OTHERS)
    source = service.database[collection]
    if not compound:
        service.database["entries"].drop_indexes()
    if collection == "entries":
        source.insert_one({"_id": {"campaign_id": stored(campaign), "user_id": stored(user_id)}})
    else:
        source.insert_one({"campaignId": stored(campaign), "userId": stored(user_id)})
    service.exported(campaign, "codes")
    assert service.delete(user_id.upper()).deleted_exports == 1


def test_many_campaigns_are_looked_through_by_the_batch(service: Service) -> None:
    service.database["campaigns"].insert_many({"_id": object_id(number)} for number in range(10, 260))
    campaigns = [service.add_campaign(1), service.add_campaign(300)]
    assert service.delete().campaigns == tuple(sorted(campaigns))


def test_a_campaign_that_is_gone_is_found_by_its_exports(service: Service) -> None:
    campaign = service.add_campaign(1)
    service.exported(campaign)
    service.database["campaigns"].delete_many({})
    assert service.delete().deleted_exports == 1


def test_files_of_all_attempts_go_and_a_waiting_export_stays(service: Service) -> None:
    campaign = service.add_campaign(1)
    export = service.exported(campaign)
    again = service.store.retry(export.id, redeliver=True)
    service.run(again)
    waiting = service.store.retry(export.id, redeliver=True)
    assert len(service.files()) == 2
    record = service.delete()
    assert (record.deleted_exports, record.deleted_files) == (0, 2)
    assert service.everything() == []
    assert service.store.get(export.id).status is ExportStatus.PENDING
    assert service.store.get(export.id).attempt == waiting.attempt


@pytest.mark.parametrize("end", ["fail", "cancel", "expire", "withdraw"])
def test_exports_without_a_file_go_too(service: Service, end: str) -> None:
    export = service.request(service.add_campaign(1))
    if end == "withdraw":
        service.store.request_cancel(export.id)
    else:
        claim, _ = service.store.claim(export.id, "run-1")
        service.store.claimed(claim).note_keys(service.buckets.bucket("exportsS3").name, ["some/key.csv"])
        getattr(service.store.claimed(claim), end)(ERROR)
    record = service.delete()
    assert (record.deleted_exports, record.deleted_files) == (1, 0)
    assert service.store.list() == []


def test_an_end_in_an_unknown_bucket_keeps_the_record_open(service: Service) -> None:
    campaign = service.add_campaign(1)
    moved, export = service.exported(campaign), service.exported(campaign, "codes")
    elsewhere = {"bucket": "elsewhere", "attempts.0.bucket": "elsewhere"}
    service.database["exports"].update_one({"_id": ObjectId(moved.id)}, {"$set": elsewhere})
    with pytest.raises(DeleteFailed, match="ConfigurationError"):
        service.delete()
    assert [left.id for left in service.store.list()] == [moved.id], "the other one is deleted"
    (error,) = service.record()["errors"]
    assert (error["code"], error["bucket"]) == ("ConfigurationError", "elsewhere")
    assert export.keys[0] not in str(service.everything())


def test_without_a_hash_key_nothing_is_recorded(service: Service) -> None:
    export = service.exported(service.add_campaign(1))
    service.settings = service.settings.model_copy(update={"ccpa_hash_key": None})
    with pytest.raises(ConfigurationError, match="VFEXPORT_CCPA_HASH_KEY"):
        service.delete()
    assert service.database["ccpaDeletions"].count_documents({}) == 0
    assert service.store.get(export.id) == export


@pytest.mark.parametrize("user_id", ["", "a" * 257, "a\nb", "a/b"])
def test_what_cannot_be_an_id_is_refused(service: Service, user_id: str) -> None:
    with pytest.raises(InvalidRequest, match="userId"):
        service.delete(user_id)


def test_the_validator_lets_nothing_else_in(service: Service) -> None:
    from pymongo.errors import WriteError

    service.delete()
    with pytest.raises(WriteError):
        service.database["ccpaDeletions"].update_one({}, {"$set": {"userId": USER_ID}})


def claimed_later(service: Service, export: Export, seconds: int) -> None:
    """Have an export be claimed so long from now, as a member of MongoDB might say whose clock is ahead."""
    later = {"$add": ["$$NOW", seconds * 1_000]}
    attempts = {"$map": {"input": "$attempts", "in": {"$mergeObjects": ["$$this", {"triggered": later}]}}}
    change = [{"$set": {"date.triggered": later, "attempts": attempts}}]
    service.database["exports"].update_one({"_id": ObjectId(export.id)}, change)


def test_what_seems_to_be_claimed_a_little_later_counts_as_older(service: Service) -> None:
    """After a failover, one clock may have dated the claim and another one the deletion."""
    campaign = service.add_campaign(1)
    older, newer = service.exported(campaign), service.exported(campaign, "codes")
    claimed_later(service, older, 55)
    claimed_later(service, newer, 300)
    record = service.delete()
    assert (record.deleted_exports, record.deleted_files) == (1, 1)
    assert [export.id for export in service.store.list()] == [newer.id]
