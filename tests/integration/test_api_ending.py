"""Cancelling exports, running them again, and their place in the queue, over the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId

from tests.api_client import Api, insert_campaign, running_api
from tests.integration.queue_helpers import DELIVERED, ERROR, new_export, triggered
from vfexport_core.queue.models import Claim, Export, ExportStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.settings import Settings


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    with running_api(settings) as api:
        api.services.backend.initialise()
        yield api


@pytest.fixture
def campaign(database: Database[dict[str, Any]]) -> str:
    return insert_campaign(database)


@pytest.fixture
def export(api: Api, campaign: str) -> Export:
    return api.services.queue.request(new_export(campaign_id=campaign))[0]


def act(api: Api, export: Export, action: str) -> Any:
    path = f"/campaigns/{export.campaign_id}/exports/{export.id}"
    response = api.post(f"{path}/{action}", token=api.token(export.campaign_id))
    if response.status_code == 202:
        assert response.headers["Location"] == path
    return response


def end(api: Api, export: Export, status: str) -> None:
    store = api.services.queue
    claim, _ = store.claim(export.id, "run-1")
    ends = {
        "FINISHED": lambda: store.claimed(claim).finish(DELIVERED),
        "FAILED": lambda: store.claimed(claim).fail(ERROR),
        "EXPIRED": lambda: store.claimed(claim).expire(),
        "CANCELED": lambda: store.claimed(claim).cancel(),
    }
    ends[status]()


def test_a_pending_export_is_cancelled_at_once(api: Api, export: Export) -> None:
    response = act(api, export, "cancel")
    assert response.status_code == 202
    assert response.json()["status"] == "CANCELED"
    assert "canceled" in response.json()["date"]
    assert "Retry-After" not in response.headers
    assert api.services.queue.get(export.id).status is ExportStatus.CANCELED


def test_a_running_export_is_cancelled_by_its_run(api: Api, export: Export) -> None:
    claim, _ = api.services.queue.claim(export.id, "run-1")
    for _ in range(2):
        response = act(api, export, "cancel")
        assert (response.status_code, response.json()["status"]) == (202, "TRIGGERED")
        assert "Retry-After" in response.headers
    assert api.services.queue.claimed(claim).check_fence().cancel_requested is not None


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "EXPIRED", "CANCELED"])
def test_what_has_ended_cannot_be_cancelled(api: Api, export: Export, status: str) -> None:
    end(api, export, status)
    before = api.services.queue.get(export.id)
    response = act(api, export, "cancel")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "ExportNotCancelable")
    assert status in response.json()["error"]["message"]
    assert api.services.queue.get(export.id) == before


@pytest.mark.parametrize("status", ["FAILED", "EXPIRED", "CANCELED"])
def test_what_did_not_finish_is_run_again(api: Api, export: Export, status: str) -> None:
    end(api, export, status)
    response = act(api, export, "retry")
    assert response.status_code == 202
    wire = response.json()
    assert (wire["status"], wire["attempt"], wire["id"]) == ("PENDING", 2, export.id)
    assert set(wire["date"]) == {"created"}
    assert "error" not in wire
    assert wire["queue"] == {"position": 1, "startsInSeconds": 0}
    again = act(api, export, "retry")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "ExportNotRetryable")
    assert api.services.queue.get(export.id).attempt == 2


@pytest.mark.parametrize("status", ["PENDING", "TRIGGERED", "FINISHED"])
def test_what_is_active_or_finished_cannot_be_run_again(api: Api, export: Export, status: str) -> None:
    if status == "TRIGGERED":
        api.services.queue.claim(export.id, "run-1")
    elif status == "FINISHED":
        end(api, export, status)
    response = act(api, export, "retry")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "ExportNotRetryable")


def test_a_newer_request_for_the_same_is_in_the_way(api: Api, export: Export) -> None:
    end(api, export, "FAILED")
    api.services.queue.request(new_export(campaign_id=export.campaign_id))
    response = act(api, export, "retry")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "ExportNotRetryable")


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_only_those_of_the_path_s_campaign_and_only_with_permission(
    api: Api, export: Export, campaign: str, database: Database[dict[str, Any]], action: str
) -> None:
    other, before = insert_campaign(database), api.services.queue.get(export.id)
    for path, token, expected in [
        (f"/campaigns/{other}/exports/{export.id}", api.token("*"), (404, "ExportNotFound")),
        (f"/campaigns/{campaign}/exports/nonsense", api.token("*"), (404, "ExportNotFound")),
        (f"/campaigns/{ObjectId()}/exports/{export.id}", api.token("*"), (404, "CampaignNotFound")),
        (f"/campaigns/{campaign}/exports/{export.id}", api.token(other), (403, "MissingPermissions")),
        (f"/campaigns/{campaign}/exports/{export.id}", None, (401, "Unauthenticated")),
    ]:
        response = api.post(f"{path}/{action}", token=token)
        assert (response.status_code, response.json()["error"]["code"]) == expected
    assert api.services.queue.get(export.id) == before


class TestPlaceInQueue:
    def read(self, api: Api, export: Export) -> tuple[dict[str, int], int]:
        path = f"/campaigns/{export.campaign_id}/exports/{export.id}"
        response = api.get(path, token=api.token("*"))
        return response.json()["queue"], int(response.headers["Retry-After"])

    def test_by_what_is_before_it_and_how_long_that_took_of_late(
        self, api: Api, database: Database[dict[str, Any]]
    ) -> None:
        self.took(api, database, "entries", 40)
        self.took(api, database, "scoring", 10)
        kinds = ["entries", "scoring", "scoring", "codes"]
        exports = [api.services.queue.request(new_export(export_type=kind))[0] for kind in kinds]
        places = [self.read(api, export)[0] for export in exports]
        assert places == [
            {"position": 1, "startsInSeconds": 0},
            {"position": 2, "startsInSeconds": 42},
            {"position": 3, "startsInSeconds": 54},
            {"position": 4, "startsInSeconds": 66},
        ]
        assert [self.read(api, export)[1] for export in exports] == [1, 42, 54, 60]

    def test_by_the_pace_of_what_runs(self, api: Api, database: Database[dict[str, Any]]) -> None:
        claim, export = triggered(api.services.queue), api.services.queue.request(new_export())[0]
        assert self.read(api, export)[0] == {"position": 1, "startsInSeconds": 32}, "nothing is known yet"
        api.services.queue.claimed(claim).set_count(400)
        api.services.queue.claimed(claim).progress(100, 100, 1_000)
        self.triggered_before(database, claim, 50)
        assert self.read(api, export)[0]["startsInSeconds"] in {152, 153}

    def test_a_running_export_says_when_it_may_end(self, api: Api, database: Database[dict[str, Any]]) -> None:
        def ends(claim: Claim) -> tuple[int | None, int]:
            export = api.services.queue.get(claim.export_id)
            response = api.get(f"/campaigns/{export.campaign_id}/exports/{export.id}", token=api.token("*"))
            return response.json().get("endsInSeconds"), int(response.headers["Retry-After"])

        claim = triggered(api.services.queue)
        assert ends(claim) == (None, 1), "nothing is known yet"
        api.services.queue.claimed(claim).set_count(400)
        for read, seconds, wanted in ((100, 10, (30, 30)), (100, 50, (150, 60)), (400, 50, (0, 1))):
            api.services.queue.claimed(claim).progress(read, read, 1_000)
            self.triggered_before(database, claim, seconds)
            assert ends(claim) == wanted
        api.services.queue.claimed(claim).finish(DELIVERED)
        export = api.services.queue.get(claim.export_id)
        path = f"/campaigns/{export.campaign_id}/exports/{export.id}"
        assert "endsInSeconds" not in api.get(path, token=api.token("*")).json()

    def test_by_how_long_such_exports_took(self, api: Api, database: Database[dict[str, Any]]) -> None:
        self.took(api, database, "codes", 20)
        export = api.services.queue.get(triggered(api.services.queue, export_type="codes").export_id)
        wire = api.get(f"/campaigns/{export.campaign_id}/exports/{export.id}", token=api.token("*")).json()
        assert wire["endsInSeconds"] == 20

    def test_an_etag_changes_with_the_position_only(self, api: Api, export: Export) -> None:
        running, _ = api.services.queue.claim(export.id, "run-1")
        second, third = (api.services.queue.request(new_export())[0] for _ in range(2))
        path, token = f"/campaigns/{third.campaign_id}/exports/{third.id}", api.token("*")
        first = api.get(path, token=token)
        act(api, second, "cancel")
        assert api.get(path, token=token, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200
        tag = api.get(path, token=token).headers["ETag"]
        api.services.queue.claimed(running).finish(DELIVERED)
        assert api.get(path, token=token, headers={"If-None-Match": tag}).status_code == 304

    def took(self, api: Api, database: Database[dict[str, Any]], kind: str, seconds: int) -> None:
        claim = triggered(api.services.queue, export_type=kind)
        api.services.queue.claimed(claim).finish(DELIVERED)
        updated = "date.finished"
        self.triggered_before(database, claim, seconds, updated)

    def triggered_before(
        self, database: Database[dict[str, Any]], claim: Claim, seconds: int, moment: str = "progress.updated"
    ) -> None:
        change = {"date.triggered": {"$subtract": [f"${moment}", seconds * 1_000]}}
        database["exports"].update_one({"_id": ObjectId(claim.export_id)}, [{"$set": change}])
