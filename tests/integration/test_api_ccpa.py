"""DELETE /ccpa/users/{userId}: who may, what it answers, and that nobody learns from it whose data it was."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.api_client import Api, api_without_mongodb, running_api
from tests.builders import object_id
from tests.ccpa import USER_ID
from vfexport_core.telemetry.logs import JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ccpa import Service

PATH = f"/ccpa/users/{USER_ID}"


@pytest.fixture
def api(service: Service) -> Iterator[Api]:
    with running_api(service.settings, database=service.database, buckets=service.buckets) as api:
        yield api


@pytest.fixture
def supreme(api: Api) -> str:
    return api.token(user_id="boss-1", supreme=True)


def delete(api: Api, token: str | None, path: str = PATH, **options: Any) -> Any:
    return api.call("DELETE", path, token=token, **options)


def test_it_deletes_and_answers_how_much(api: Api, supreme: str, service: Service) -> None:
    campaign = service.add_campaign(1)
    service.exported(campaign)
    service.exported(campaign, "scoring")
    answer = delete(api, supreme, headers={"X-Correlation-Id": "mine-1"})
    assert (answer.status_code, answer.json()) == (200, {"deletedCount": {"exports": 1, "files": 1}})
    again = delete(api, supreme)
    assert again.json() == {"deletedCount": {"exports": 0, "files": 0}}
    record = service.record()
    assert (record["requestedBy"], record["correlationId"]) == ("boss-1", "mine-1")
    assert [export.export_type for export in service.store.list()] == ["scoring"]


def test_equal_requests_at_the_same_time_do_the_work_once(api: Api, supreme: str, service: Service) -> None:
    campaign = service.add_campaign(1)
    exports = [service.exported(campaign, export_type) for export_type in ("entries", "codes", "fanlist")]
    waiting = service.request(campaign, "waitlist")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: delete(api, supreme), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    counts = [answer.json()["deletedCount"] for answer in answers]
    records = list(service.database["ccpaDeletions"].find())
    assert sum(record["requests"] for record in records) >= 4
    assert [{"exports": len(exports), "files": len(exports)} in counts, len(records) <= 4] == [True, True]
    told = [record["deletedCount"] for record in records]
    assert all(count in told for count in counts), "those who joined are told the same"
    assert [sum(count[name] for count in told) for name in ("exports", "files")] == [len(exports)] * 2
    assert service.store.list() == [waiting]
    assert service.everything() == []
    assert {record["status"] for record in records} == {"COMPLETE"}


def test_only_supreme_users_may(api: Api, service: Service) -> None:
    export = service.exported(service.add_campaign(1))
    assert delete(api, None).status_code == 401
    assert delete(api, "nonsense").status_code == 401
    for token in (api.token("*"), api.token(str(object_id(1))), api.token()):
        answer = delete(api, token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "MissingPermissions")
    assert service.store.get(export.id) == export
    assert service.database["ccpaDeletions"].count_documents({}) == 0


@pytest.mark.parametrize("user_id", ["a" * 257, "a\nb", "\x7f"])
def test_what_cannot_be_an_id_is_a_bad_request(api: Api, supreme: str, user_id: str) -> None:
    answer = delete(api, supreme, f"/ccpa/users/{quote(user_id)}")
    assert (answer.status_code, answer.json()["error"]["payload"]) == (400, "userId")


@pytest.mark.parametrize("user_id", ["nobody", "*", "{'$ne': null}", "..", "\u00fc \u2028"])
def test_what_is_nobodys_id_answers_zeros(api: Api, supreme: str, service: Service, user_id: str) -> None:
    service.exported(service.add_campaign(1))
    answer = delete(api, supreme, f"/ccpa/users/{quote(user_id, safe='')}")
    assert answer.json() == {"deletedCount": {"exports": 0, "files": 0}} or user_id == ".."
    assert len(service.files()) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_other_methods_are_not_of_this_path(api: Api, supreme: str, method: str) -> None:
    answer = api.call(method, PATH, token=supreme)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "DELETE")
    assert api.get("/ccpa/users/", token=supreme).status_code == 404


def test_an_incomplete_deletion_is_delete_failed_and_says_whose_turn_it_is(
    api: Api, supreme: str, service: Service
) -> None:
    export = service.request(service.add_campaign(1))
    claim, _ = service.store.claim(export.id, "run-1")
    service.store.claimed(claim).note_keys("gone", ["k"])
    answer = delete(api, supreme)
    assert answer.status_code == 500
    error = answer.json()["error"]
    record = service.record()
    assert (error["code"], error["payload"], record["status"]) == ("DeleteFailed", str(record["_id"]), "OPEN")


def test_without_a_hash_key_the_answer_says_which_setting_is_missing(service: Service) -> None:
    settings = service.settings.model_copy(update={"ccpa_hash_key": None})
    with running_api(settings, database=service.database, buckets=service.buckets) as api:
        answer = delete(api, api.token(supreme=True))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["payload"]) == (
        500,
        "ConfigurationError",
        "VFEXPORT_CCPA_HASH_KEY",
    )


def test_without_mongodb_nothing_is_recorded_and_the_caller_is_told_so(service: Service) -> None:
    with api_without_mongodb(service.settings) as api:
        answer = delete(api, api.token(supreme=True))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SourceUnavailable")


def test_neither_logs_nor_records_nor_errors_name_the_user(
    api: Api, supreme: str, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    secret = "person-with-a-name"
    campaign = service.add_campaign(7)
    service.database["entries"].insert_one({"_id": {"campaign_id": campaign, "user_id": secret}})
    export = service.request(campaign)
    claim, _ = service.store.claim(export.id, "run-1")
    service.store.claimed(claim).note_keys("gone", ["k"])
    answers = [delete(api, token, f"/ccpa/users/{secret}") for token in (supreme, api.token(), None)]
    logged = "\n".join(
        JsonFormatter().format(record) for record in caplog.records if record.name.startswith("vfexport")
    )
    assert [answer.status_code for answer in answers] == [500, 403, 401]
    assert "DeleteFailed" in logged
    told = logged + service.stored_text() + "".join(answer.text for answer in answers)
    assert secret not in told
    lines = [json.loads(line) for line in logged.splitlines()]
    assert [line["route"] for line in lines if line["message"] == "request"] == ["/ccpa/users/{userId}"] * 3
