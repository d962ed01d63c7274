"""What the API answers when MongoDB, S3 or its own code fails: clean bodies, nothing that is not for callers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId
from pydantic import SecretStr
from pymongo import MongoClient

from tests.api_client import Api, api_without_mongodb, insert_campaign, run_to_end, running_api
from tests.api_tokens import make_settings
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.settings import Settings

CAMPAIGN = str(ObjectId())


@pytest.fixture(scope="module")
def cut_off() -> Iterator[Api]:
    """An API whose MongoDB and S3 are not there."""
    bucket = {
        "name": "some-bucket",
        "endpoint_url": "http://127.0.0.1:1",
        "region": "us-east-1",
        "access_key_id": "k",
        "secret_access_key": "s3cret",
    }
    settings = make_settings(dev_mode=True, buckets={"exports": bucket})
    with api_without_mongodb(settings) as api:
        yield api


def test_readiness_names_what_does_not_answer(cut_off: Api) -> None:
    response = cut_off.get("/ready")
    assert response.status_code == 503
    error = response.json()["error"]
    assert (error["code"], error["payload"]) == ("NotReady", "exportsS3, mongodb")
    assert set(response.json()["checks"]) == {"mongodb", "schema", "exportsS3"}
    assert cut_off.get("/heartbeat").status_code == 200


def test_readiness_does_not_fall_with_one_bucket(settings: Settings, database: Database[dict[str, Any]]) -> None:
    initialise(database)
    missing = settings.buckets.model_copy(
        update={"sfmc": settings.buckets.exports.model_copy(update={"name": "no-such-bucket"})}
    )
    # Generous, for a busy machine: each check opens a client of its own first.
    with running_api(settings.model_copy(update={"buckets": missing}), ready_seconds=60) as api:
        response = api.get("/ready")
        assert (response.status_code, response.json()["status"]) == (200, "degraded")
        checks = response.json()["checks"]
        assert {name for name, outcome in checks.items() if outcome != "ok"} == {"sfmcS3"}
    with running_api(settings, ready_seconds=60) as api:
        response = api.get("/ready")
        assert (response.json()["status"], set(response.json()["checks"].values())) == ("ready", {"ok"})


def test_readiness_blames_no_bucket_for_mongodb(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        uri = SecretStr(f"mongodb://127.0.0.1:{silent.getsockname()[1]}/?directConnection=true")
        # Generous, for a busy machine: each check opens a client of its own first.
        with running_api(settings.model_copy(update={"mongo_uri": uri}), ready_seconds=8) as api:
            response = api.get("/ready")
    assert response.status_code == 503
    assert response.json()["checks"]["mongodb"] != "ok"
    buckets = {name: said for name, said in response.json()["checks"].items() if name.endswith("S3")}
    assert buckets == dict.fromkeys(["exportsS3", "scoringS3", "vfScoringS3", "sfmcS3"], "ok")


@pytest.mark.timeout(60)
def test_an_api_that_ends_does_not_wait_for_its_checks_as_long_as_callers_would() -> None:
    options = {"ready_seconds": 0.2, "caller_limits": RetryLimits(90)}
    with (
        MongoClient[dict[str, Any]]("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=100) as away,
        running_api(make_settings(), database=away["nothing"], **options) as api,
    ):
        assert api.get("/ready").status_code == 503


def test_without_mongodb_requests_are_unavailable(cut_off: Api) -> None:
    token = cut_off.token("*")
    for path in (f"/campaigns/{CAMPAIGN}/exports/{CAMPAIGN}", f"/campaigns/{CAMPAIGN}/exports"):
        response = cut_off.get(path, token=token)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "SourceUnavailable"
        assert response.json()["error"]["payload"] == "exports"
        assert "127.0.0.1" not in response.text
        assert int(response.headers["Retry-After"]) >= 1


def test_a_finished_export_whose_bucket_is_not_configured(
    settings: Settings, database: Database[dict[str, Any]]
) -> None:
    campaign = insert_campaign(database)
    with running_api(settings) as api:
        api.services.backend.initialise()
        posted = api.post(f"/campaigns/{campaign}/exports", token=api.token("*"), json={"exportType": "entries"})
        export = run_to_end(api, api.services.queue.get(posted.json()["id"]), "a.csv")
    without = settings.model_copy(update={"buckets": settings.buckets.model_copy(update={"exports": None})})
    with running_api(without) as api:
        response = api.get(f"/campaigns/{campaign}/exports/{export.id}", token=api.token("*"))
        assert response.json()["error"]["code"] == "InternalError"
        assert "VFEXPORT" not in response.text


class BrokenStore(ExportRepository):
    """Has a bug."""

    def get(self, *_: Any) -> Any:
        raise RuntimeError("secret-detail")


def test_a_bug_is_an_internal_error(
    settings: Settings, database: Database[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with running_api(settings, database=database, queue=BrokenStore(database)) as api:
        response = api.get(
            f"/campaigns/{CAMPAIGN}/exports/{CAMPAIGN}", token=api.token("*"), headers={"X-Correlation-Id": "bug-1"}
        )
        assert response.status_code == 500
        assert response.json()["error"] == {
            "status": 500,
            "code": "InternalError",
            "message": response.json()["error"]["message"],
            "payload": None,
            "hint": "Look for the correlation id in the logs.",
        }
        assert "secret-detail" not in response.text
        assert response.headers["X-Correlation-Id"] == "bug-1"
        assert api.get("/heartbeat").status_code == 200
        database.command("ping")
    assert any(record.exc_info and "secret-detail" in str(record.exc_info[1]) for record in caplog.records)


def test_clients_that_were_made_here_are_closed(settings: Settings, database: Database[dict[str, Any]]) -> None:
    with running_api(settings) as api:
        own = api.services.database
        own.command("ping")
    with pytest.raises(Exception, match="close"):
        own.command("ping")
    with running_api(settings, database=database) as api:
        assert api.services.database is database
    database.command("ping")
