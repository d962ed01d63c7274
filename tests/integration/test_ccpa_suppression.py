"""Exports that run while a user's data is being deleted, or were requested before it was: no row names the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId
from pydantic import SecretStr

from tests.builders import make_code, object_id
from tests.ccpa import KEPT_TYPES, PERSON, USER_ID, names_person
from vfexport_core.catalog import all_specs
from vfexport_core.errors import ConfigurationError
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from tests.ccpa import Service

TYPES = [spec.type for spec in all_specs()]


def open_record(service: Service, user_id: str = USER_ID, campaigns: list[str] | None = None) -> str:
    """Record a deletion that gets no further; without `campaigns` they are not found yet."""
    record_id = service.open_record(user_id)
    if campaigns is not None:
        service.deletions.set_campaigns(service.deletions.get(record_id), campaigns)
    return record_id


def file_of(service: Service, export: Any) -> bytes:
    (data,) = [data for (_, key), data in service.files().items() if key in export.keys]
    return data


def everything_of(service: Service, export: Any) -> bytes:
    return b"".join(data for (_, key), data in service.files().items() if key in export.keys)


@pytest.mark.parametrize("export_type", TYPES)
def test_no_row_of_any_deletable_type_names_the_user(service: Service, export_type: str) -> None:
    campaign = service.add_full_campaign()
    before = service.exported(campaign, export_type)
    assert names_person(everything_of(service, before)), "the test can see a row"
    assert "ccpaExcluded" not in before.meta
    open_record(service)
    after = service.exported(campaign, export_type)
    is_kept = export_type in KEPT_TYPES
    assert names_person(everything_of(service, after)) is is_kept
    assert names_person(everything_of(service, after), fan=2), "the others stay"
    assert after.count == before.count - (0 if is_kept else before.count // 3)
    assert after.meta.get("ccpaExcluded", 0) == (0 if is_kept else after.meta["read"] // 3)


@pytest.mark.parametrize("stored", [str.upper, ObjectId])
def test_ids_are_compared_as_everywhere(service: Service, stored: Any) -> None:
    user_id = "ab" * 12
    campaign = service.add_campaign(50)
    entry = service.database["entries"].find_one()
    service.database["entries"].insert_one({**entry, "_id": {"campaign_id": campaign, "user_id": stored(user_id)}})
    open_record(service, user_id)
    export = service.exported(campaign)
    assert (export.count, export.meta["ccpaExcluded"]) == (3, 1)
    assert user_id not in file_of(service, export).decode().lower()


@pytest.mark.parametrize("export_type", ["codes", "codeAssignments", "codeWaves"])
def test_codes_name_a_user_by_the_member_id_alone(service: Service, export_type: str) -> None:
    """As the scoring record has it, or the account of the user, who has an entry only."""
    campaign = service.add_campaign(50, scored=(2, 3))
    codes = [
        make_code(code, PERSON, 50, assignment={"memberId": member}) for code, member in [("X1", "m1"), ("X2", "s1")]
    ]
    for code in codes:
        del code["assignment"]["userId"]
    service.database["codes"].insert_many(codes)
    service.database["scoring"].insert_one({"campaignId": campaign, "userId": USER_ID, "memberId": "s1"})
    open_record(service)
    data = file_of(service, service.exported(campaign, export_type)).decode()
    assert "X1" not in data
    assert "X2" not in data
    assert "C50-2" in data


def test_a_code_without_a_fan_stays(service: Service) -> None:
    campaign = service.add_campaign(50)
    service.database["codes"].insert_one(make_code("FREE", None, 50))
    open_record(service)
    assert b"FREE" in file_of(service, service.exported(campaign, "codes"))


def test_other_campaigns_and_other_users_are_not_concerned(service: Service) -> None:
    campaign, other = service.add_campaign(50), service.add_campaign(51)
    open_record(service, campaigns=[other])
    open_record(service, user_id="nobody", campaigns=[campaign])
    assert names_person(file_of(service, service.exported(campaign)))


def test_what_was_requested_before_the_completion_leaves_the_user_out_for_ever(service: Service) -> None:
    campaign = service.add_campaign(50)
    waiting = service.request(campaign)
    service.delete()
    export = service.run(waiting)
    assert not names_person(file_of(service, export))
    again = service.run(service.store.retry(export.id, redeliver=True))
    assert not names_person(file_of(service, again))
    service.let_clocks_agree()
    assert names_person(file_of(service, service.exported(campaign))), "requested after it"


def test_an_export_that_respected_the_deletion_is_not_deleted_by_it(service: Service) -> None:
    service.skew_seconds = 0
    campaign = service.add_campaign(50)
    old = service.exported(campaign)
    record_id = open_record(service)
    service.deletions.begin(record_id)
    clean = service.exported(campaign)
    service.run(service.store.retry(old.id, redeliver=True))
    assert service.heal_now().completed == (record_id,)
    kept = {export.id: export.keys for export in service.store.list()}
    assert kept.keys() == {clean.id, old.id}
    assert {key for _, key in service.files()} == {key for keys in kept.values() for key in keys}
    assert not any(names_person(data) for data in service.files().values())
    assert service.delete().deleted_exports == 2, "a later request deletes them too"


@pytest.mark.parametrize("key", [None, "another key"])
def test_without_the_right_key_an_export_fails_rather_than_to_publish(service: Service, key: str | None) -> None:
    campaign = service.add_campaign(50)
    open_record(service, campaigns=[campaign])
    service.settings = service.settings.model_copy(update={"ccpa_hash_key": key and SecretStr(key)})
    for export_type in ("scoring",):
        assert service.exported(campaign, export_type).status is ExportStatus.FINISHED
    with pytest.raises(ConfigurationError, match="VFEXPORT_CCPA_HASH_KEY"):
        service.exported(campaign)
    assert len(service.heal_now().completed) == 1, "whose campaigns are known"


def test_a_running_export_ends_up_without_the_user(service: Service) -> None:
    campaign = service.add_campaign(50)
    export = service.request(campaign)
    service.store.claim(export.id, "lost-run")
    service.delete()
    again = service.run(service.store.get(export.id))
    assert (again.attempt, names_person(file_of(service, again))) == (2, False)
    assert str(object_id(2)).encode() in file_of(service, again)


def test_what_seems_to_be_requested_a_little_after_the_completion_leaves_the_user_out(service: Service) -> None:
    """After a failover, one clock may have dated the request and another one the completion."""
    campaign = service.add_campaign(50)
    service.delete()
    for seconds, is_named in ((55, False), (300, True)):
        export = service.request(campaign)
        later = {"$set": {"date.created": {"$add": ["$$NOW", seconds * 1_000]}}}
        service.database["exports"].update_one({"_id": ObjectId(export.id)}, [later])
        assert names_person(file_of(service, service.run(service.store.get(export.id)))) is is_named
