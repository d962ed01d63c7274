"""Requesting, reading and listing exports over the API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest
from bson import ObjectId

from tests.api_client import Api, insert_campaign, run_to_end, running_api
from vfexport_core.catalog import all_specs
from vfexport_core.errors import NoMarketsFound
from vfexport_core.queue.models import ExportStatus, NewExport, iso

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.queue.models import Export
    from vfexport_core.settings import Settings

ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    with running_api(settings) as api:
        api.services.backend.initialise()
        yield api


@pytest.fixture
def campaign(database: Database[dict[str, Any]]) -> str:
    return insert_campaign(database)


def queue(api: Api, campaign: str, export_type: str = "entries", date_key: str | None = None) -> Export:
    new = NewExport(
        campaign_id=campaign,
        campaign_name="Summer Tour",
        export_type=export_type,
        date_key=date_key,
        requester_user_id="admin-1",
        correlation_id="c",
        source="api",
    )
    return api.services.queue.request(new)[0]


def test_a_request_becomes_a_pending_export(api: Api, database: Database[dict[str, Any]], campaign: str) -> None:
    response = api.post(
        f"/campaigns/{campaign}/exports",
        token=api.token(campaign, user_id="admin-7"),
        headers={"X-Correlation-Id": "trace-1"},
        json={"exportType": "entries", "includeAllMarkets": True},
    )
    assert response.status_code == 202
    wire = response.json()
    (document,) = database["exports"].find()
    assert wire == {
        "id": str(document["_id"]),
        "campaignId": campaign,
        "campaignName": "Summer Tour",
        "exportType": "entries",
        "status": "PENDING",
        "includeAllMarkets": True,
        "requesterUserId": "admin-7",
        "date": {"created": wire["date"]["created"]},
        "attempt": 1,
        "queue": {"position": 1, "startsInSeconds": 0},
    }
    assert datetime.fromisoformat(wire["date"]["created"]).replace(tzinfo=None) == document["date"]["created"].replace(
        tzinfo=None
    )
    assert response.headers["Location"] == f"/campaigns/{campaign}/exports/{wire['id']}"
    assert int(response.headers["Retry-After"]) >= 1
    assert (document["source"], document["correlationId"]) == ("api", "trace-1")
    assert response.headers["X-Correlation-Id"] == "trace-1"


def test_the_same_request_again_gives_the_active_export(api: Api, campaign: str) -> None:
    path, token = f"/campaigns/{campaign}/exports", api.token(campaign)
    first = api.post(path, token=token, json={"exportType": "entries"})
    again = api.post(f"/campaigns/{campaign.upper()}/exports", token=token, json={"exportType": "entries"})
    other = api.post(path, token=token, json={"exportType": "scoring"})
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 202)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert other.json()["id"] != first.json()["id"]
    api.services.queue.claim(first.json()["id"], "run-1")
    running = api.post(path, token=token, json={"exportType": "entries"})
    assert (running.status_code, running.json()["status"]) == (200, "TRIGGERED")


def insert_codes(database: Database[dict[str, Any]], campaign: str, *date_keys: Any) -> None:
    codes = [{"_id": f"{campaign}-{key}", "campaignId": campaign, "dateKey": key} for key in date_keys]
    database["codes"].insert_many(codes)


def test_waves_are_told_apart_by_their_date_key(api: Api, database: Database[dict[str, Any]], campaign: str) -> None:
    insert_codes(database, campaign, "1700000000000", "1700000000001")

    def post(date_key: str) -> httpx.Response:
        body = {"exportType": "codeWaves", "dateKey": date_key}
        return api.post(f"/campaigns/{campaign}/exports", token=api.token("*"), json=body)

    first, again, other = post("1700000000000"), post("1700000000000"), post("1700000000001")
    assert [answer.status_code for answer in (first, again, other)] == [202, 200, 202]
    assert first.json()["dateKey"] == "1700000000000"
    assert (again.json()["id"], other.json()["dateKey"]) == (first.json()["id"], "1700000000001")


def test_a_wave_that_no_code_belongs_to_is_refused_with_those_there_are(
    api: Api, database: Database[dict[str, Any]], campaign: str
) -> None:
    def refusal(**body: str) -> tuple[int, str, str]:
        path = f"/campaigns/{campaign}/exports"
        response = api.post(path, token=api.token("*"), json={"exportType": "codeWaves", **body})
        error = response.json()["error"]
        assert error["payload"] == "dateKey"
        return response.status_code, error["code"], error["message"]

    status, code, message = refusal(dateKey="5")
    assert (status, code) == (400, "UnknownDateKey")
    assert message == "no code of the campaign has the dateKey 5; none of its codes has one"
    # Dirty: as a number, and what no request can name.
    insert_codes(database, campaign, "1700000000001", 1700000000000, None, "soon", True)
    insert_codes(database, insert_campaign(database), "5")
    waves = "its waves are 1700000000000, 1700000000001"
    assert refusal(dateKey="5") == (400, "UnknownDateKey", f"no code of the campaign has the dateKey 5; {waves}")
    status, code, message = refusal()
    assert (status, code) == (400, "MissingDateKey")
    assert message.endswith(f"; {waves}")
    assert database["exports"].count_documents({}) == 0


def test_additional_markets_are_refused_where_there_are_no_rows_of_them(api: Api, campaign: str) -> None:
    body = {"exportType": "scoring", "includeAllMarkets": True}
    response = api.post(f"/campaigns/{campaign}/exports", token=api.token("*"), json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["payload"]) == (400, "InvalidRequest", "includeAllMarkets")
    assert "scoring" in error["message"]


def test_the_catalog_is_listed_for_any_caller(api: Api) -> None:
    listed = {wire["type"]: wire for wire in api.get("/export-types", token=api.token()).json()}
    assert list(listed) == [spec.type for spec in all_specs()]
    assert listed["codeWaves"]["needsDateKey"]
    assert listed["entries"] == {
        "type": "entries",
        "bucket": "exportsS3",
        "format": "csv",
        "columns": listed["entries"]["columns"],
        "needsDateKey": False,
    }
    assert listed["entries"]["columns"][:2] == ["id", "contest_title"]
    assert listed["entries"]["columns"][-1] == "#{type}.{id}"


def test_a_request_after_the_end_makes_a_new_export(api: Api, campaign: str) -> None:
    finished = run_to_end(api, queue(api, campaign), "a.csv")
    response = api.post(f"/campaigns/{campaign}/exports", token=api.token("*"), json={"exportType": "entries"})
    assert response.status_code == 202
    assert response.json()["id"] != finished.id


def test_a_running_export_shows_its_progress(api: Api, campaign: str) -> None:
    export = queue(api, campaign)
    claim, _ = api.services.queue.claim(export.id, "run-1")
    path, token = f"/campaigns/{campaign}/exports/{export.id}", api.token(campaign)
    assert "percent" not in api.get(path, token=token).json().get("progress", {})
    api.services.queue.claimed(claim).set_count(3)
    api.services.queue.claimed(claim).progress(1, 2, 300)
    response = api.get(path, token=token)
    wire = response.json()
    assert wire["progress"] == {"read": 1, "rows": 2, "bytes": 300, "percent": 33.3}
    assert (wire["count"], wire["status"]) == (3, "TRIGGERED")
    assert set(wire["date"]) == {"created", "triggered"}
    assert "Retry-After" in response.headers
    assert not {"key", "keys", "path", "bytes", "sha256", "runId", "attempts"} & set(wire)


def test_a_finished_export_can_be_downloaded(api: Api, database: Database[dict[str, Any]]) -> None:
    campaign = insert_campaign(database, name='Año "Ö"/x')
    posted = api.post(f"/campaigns/{campaign}/exports", token=api.token("*"), json={"exportType": "entries"}).json()
    key = f"{campaign}/entries/file.csv"
    target = api.services.buckets.bucket("exportsS3")
    target.client.put_object(Bucket=target.name, Key=key, Body=b"id\n1\n")
    run_to_end(api, api.services.queue.get(posted["id"]), key)
    response = api.get(f"/campaigns/{campaign}/exports/{posted['id']}", token=api.token("*"))
    wire = response.json()
    assert (wire["status"], wire["key"], wire["bytes"], wire["count"]) == ("FINISHED", key, 5_000, 41)
    assert wire["sha256"] == f"{1:064x}"
    assert wire["progress"]["percent"] == 100
    assert wire["meta"] == {"warnings": {"unknownUser": 2}}
    assert set(wire["date"]) == {"created", "triggered", "finished"}
    assert "Retry-After" not in response.headers
    with httpx.Client() as plain:
        download = plain.get(wire["path"])
    assert download.content == b"id\n1\n"
    assert "filename*=UTF-8''A%C3%B1o%20" in download.headers["Content-Disposition"]
    assert "embedded" not in response.text.replace(wire["path"], "")


def test_several_files_have_keys_and_no_download(api: Api, campaign: str) -> None:
    export = run_to_end(api, queue(api, campaign), "NA/a.csv", "UK/b.csv", bucket="sfmcS3")
    wire = api.get(f"/campaigns/{campaign}/exports/{export.id}", token=api.token("*")).json()
    assert wire["keys"] == ["NA/a.csv", "UK/b.csv"]
    assert wire["sha256"] == [f"{1:064x}", f"{2:064x}"]
    assert not {"key", "path"} & set(wire)


def test_a_single_machine_file_has_no_download(api: Api, campaign: str) -> None:
    export = run_to_end(api, queue(api, campaign, "autoReminderEmail"), "NA/a.csv", bucket="vfexport-sfmc")
    wire = api.get(f"/campaigns/{campaign}/exports/{export.id}", token=api.token("*")).json()
    assert wire["key"] == "NA/a.csv"
    assert "path" not in wire


def test_a_failed_export_says_why(api: Api, campaign: str) -> None:
    export = queue(api, campaign)
    claim, _ = api.services.queue.claim(export.id, "run-1")
    error = {"code": "NoMarketsFound", "message": "the campaign has no market", "payload": campaign}
    api.services.queue.claimed(claim).fail(error)
    response = api.get(f"/campaigns/{campaign}/exports/{export.id}", token=api.token("*"))
    assert (response.json()["status"], response.json()["error"]) == (
        "FAILED",
        error | {"hint": NoMarketsFound.hint},
    )
    assert "Retry-After" not in response.headers


def test_an_unchanged_export_is_not_sent_again(api: Api, campaign: str) -> None:
    export = queue(api, campaign)
    path, token = f"/campaigns/{campaign}/exports/{export.id}", api.token(campaign)
    tag = api.get(path, token=token).headers["ETag"]
    for candidate in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        response = api.get(path, token=token, headers={"If-None-Match": candidate})
        assert (response.status_code, response.headers["ETag"]) == (304, tag)
        assert "Retry-After" in response.headers
    several = httpx.Headers([("If-None-Match", '"other"'), ("If-None-Match", tag)])
    assert api.get(path, token=token, headers=several).status_code == 304
    assert api.get(path, token=token, headers={"If-None-Match": '"other"'}).status_code == 200
    claim, _ = api.services.queue.claim(export.id, "run-1")
    changed = api.get(path, token=token, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["status"]) == (200, "TRIGGERED")
    api.services.queue.claimed(claim).progress(1, 1, 1)
    again = api.get(path, token=token, headers={"If-None-Match": changed.headers["ETag"]})
    assert again.status_code == 200


def test_exports_and_campaigns_that_are_not_there(api: Api, campaign: str, database: Database[dict[str, Any]]) -> None:
    export, other = queue(api, campaign), insert_campaign(database)
    token = api.token("*")

    def code(path: str, **options: Any) -> tuple[int, str]:
        response = api.call("POST" if options else "GET", path, token=token, **options)
        return response.status_code, response.json()["error"]["code"]

    body = {"json": {"exportType": "entries"}}
    assert code(f"/campaigns/{campaign}/exports/{ObjectId()}") == (404, "ExportNotFound")
    assert code(f"/campaigns/{campaign}/exports/nonsense") == (404, "ExportNotFound")
    assert code(f"/campaigns/{other}/exports/{export.id}") == (404, "ExportNotFound")
    for missing in (ObjectId(), "nonsense", "a" * 5_000, "%24ne", "x%00y", "%ff"):
        assert code(f"/campaigns/{missing}/exports/{export.id}") == (404, "CampaignNotFound")
        assert code(f"/campaigns/{missing}/exports") == (404, "CampaignNotFound")
        assert code(f"/campaigns/{missing}/exports", **body) == (404, "CampaignNotFound")
    assert database["exports"].count_documents({}) == 1


@pytest.mark.parametrize("name", [None, 7, "", "\x00a", "😀" * 500], ids=["missing", "number", "empty", "nul", "long"])
def test_any_campaign_name_will_do(api: Api, database: Database[dict[str, Any]], name: Any) -> None:
    campaign = insert_campaign(database, name=name)
    response = api.post(f"/campaigns/{campaign}/exports", token=api.token("*"), json={"exportType": "entries"})
    assert response.status_code == 202
    assert response.json()["campaignName"] == ("" if name is None else str(name))


def test_pages_hold_every_export_once_while_others_are_added(api: Api, campaign: str) -> None:
    expected = [queue(api, campaign, date_key=str(number)).id for number in range(7)]
    queue(api, str(ObjectId()))
    seen, path = [], f"/campaigns/{campaign}/exports?limit=3"
    while path:
        response = api.get(path, token=api.token(campaign))
        seen.append([wire["id"] for wire in response.json()])
        queue(api, campaign, date_key=str(100 + len(seen)))
        path = response.links.get("next", {}).get("url")
    assert seen == [expected[:3:-1], expected[3:0:-1], expected[:1]]
    response = api.get(f"/campaigns/{campaign}/exports?sortDir=asc&sort=date.created&limit=200", token=api.token("*"))
    assert [wire["id"] for wire in response.json()][:7] == expected
    assert "Link" not in response.headers


def test_the_list_can_be_filtered(api: Api, campaign: str) -> None:
    scoring = run_to_end(api, queue(api, campaign, "scoring"), "s.csv", bucket="scoringS3")
    waiting = queue(api, campaign, "scoring")
    entries = queue(api, campaign)

    def listed(query: str) -> list[str]:
        response = api.get(f"/campaigns/{campaign}/exports?{query}", token=api.token("*"))
        assert response.status_code == 200
        return [wire["id"] for wire in response.json()]

    assert listed("") == [entries.id, waiting.id, scoring.id]
    assert listed("exportType=scoring") == [waiting.id, scoring.id]
    assert listed("status=PENDING&sortDir=asc") == [waiting.id, entries.id]
    assert listed("status=FINISHED&exportType=scoring") == [scoring.id]
    assert listed("status=CANCELED") == []
    one = api.get(f"/campaigns/{campaign}/exports?status=FINISHED", token=api.token("*")).json()[0]
    alone = api.get(f"/campaigns/{campaign}/exports/{scoring.id}", token=api.token("*")).json()
    for wire in (one, alone):
        wire.pop("path"), wire.pop("pathExpires")
    assert one == alone


def test_the_list_can_be_of_one_name_of_the_campaign(
    api: Api, campaign: str, database: Database[dict[str, Any]]
) -> None:
    path, token = f"/campaigns/{campaign}/exports", api.token("*")
    ids: dict[str, list[str]] = {}
    for name, types in (("Summer Tour", ["entries"]), ("Autumn & Winter|", ["scoring", "codes"])):
        database["campaigns"].update_one({}, {"$set": {"name": name}})
        ids[name] = [api.post(path, token=token, json={"exportType": kind}).json()["id"] for kind in types]
    for name, wanted in (*ids.items(), ("Autumn", [])):
        first = api.get(path, token=token, params={"campaignName": name, "limit": 1, "sortDir": "asc"})
        seen = [wire["id"] for wire in first.json()]
        if "next" in first.links:
            seen += [wire["id"] for wire in api.get(first.links["next"]["url"], token=token).json()]
        assert seen == wanted


def test_the_list_can_be_bounded_in_time(api: Api, campaign: str) -> None:
    exports = [queue(api, campaign, date_key=str(number)) for number in range(5)]
    moments = [iso(export.date.created) for export in exports]
    ids = {export.id: moment for export, moment in zip(exports, moments, strict=True)}
    since, until = moments[1], moments[3]

    def listed(**query: str) -> list[str]:
        seen, path = [], f"/campaigns/{campaign}/exports?{urlencode(query | {'limit': 1})}"
        while path:
            response = api.get(path, token=api.token("*"))
            assert response.status_code == 200
            seen += [wire["id"] for wire in response.json()]
            path = response.links.get("next", {}).get("url")
        return seen

    for sort_dir, wanted in (("asc", exports), ("desc", exports[::-1])):
        within = [one.id for one in wanted if since <= ids[one.id] < until]
        assert listed(sortDir=sort_dir, since=since, until=until) == within
        assert listed(sortDir=sort_dir, since=since) == [one.id for one in wanted if since <= ids[one.id]]
        assert listed(sortDir=sort_dir, until=until) == [one.id for one in wanted if ids[one.id] < until]
    assert listed(since=until, until=since) == []
    assert listed(since="2026-01-31T09:30:00+02:00", until="2026-01-31T07:30:00Z") == []


def test_a_signed_address_says_until_when_it_works(api: Api, campaign: str) -> None:
    export = run_to_end(api, queue(api, campaign, "scoring"), "s.csv", bucket="scoringS3")
    before = datetime.now(UTC)
    wire = api.get(f"/campaigns/{campaign}/exports/{export.id}", token=api.token("*")).json()
    lifetime = timedelta(seconds=api.services.settings.signed_url_seconds)
    assert before - timedelta(seconds=1) <= datetime.fromisoformat(wire["pathExpires"]) - lifetime <= datetime.now(UTC)


def test_an_empty_campaign_has_an_empty_list(api: Api, campaign: str) -> None:
    response = api.get(f"/campaigns/{campaign}/exports", token=api.token("*"))
    assert (response.status_code, response.json()) == (200, [])


def test_a_cursor_belongs_to_its_list(api: Api, campaign: str, database: Database[dict[str, Any]]) -> None:
    other = insert_campaign(database)
    for number in range(3):
        queue(api, campaign, date_key=str(number))
        queue(api, other, date_key=str(number))
    token = api.token("*")
    link = api.get(f"/campaigns/{campaign}/exports?limit=1", token=token).links["next"]["url"]
    cursor = httpx.URL(link).params["cursor"]
    assert api.get(f"{link}&status=PENDING", token=token).status_code == 400
    assert api.get(link.replace("limit=1", "limit=2"), token=token).status_code == 200
    for path in (
        f"/campaigns/{campaign}/exports?sortDir=asc&cursor={cursor}",
        f"/campaigns/{other}/exports?cursor={cursor}",
        f"/campaigns/{campaign}/exports?cursor={cursor[:-1]}",
        f"/campaigns/{campaign}/exports?cursor={cursor}A",
        f"/campaigns/{campaign}/exports?cursor={cursor[:5]}x{cursor[6:]}",
        f"/campaigns/{campaign}/exports?cursor={'A' * 34}",
        f"/campaigns/{campaign}/exports?cursor=",
    ):
        response = api.get(path, token=token)
        assert (response.status_code, response.json()["error"]["payload"]) == (400, "cursor"), path


def test_concurrent_requests_make_one_export(settings: Settings, database: Database[dict[str, Any]]) -> None:
    """L3 over two apps that share nothing but the database."""
    campaign = insert_campaign(database)
    path = f"/campaigns/{campaign}/exports"
    with running_api(settings) as one, running_api(settings) as two:
        one.services.backend.initialise()
        for api in (one, two):  # at its first request it takes its routes apart, not as two threads of a process may
            assert api.get(path, token=api.token(campaign)).json() == []

        def post(number: int) -> tuple[int, str]:
            api = (one, two)[number % 2]
            response = api.post(path, token=api.token(campaign), json={"exportType": "entries"})
            return response.status_code, response.json()["id"]

        with ThreadPoolExecutor(20) as pool:
            results = list(pool.map(post, range(100)))
    assert sorted(status for status, _ in results) == [200] * 99 + [202]
    assert len({export_id for _, export_id in results}) == 1
    assert database["exports"].count_documents({}) == 1
    assert database["exports"].find_one()["status"] == ExportStatus.PENDING
