"""The administrators' page over HTTP: its files, its policy, what it asks of the service; more in tests/browser/."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.api_client import Api, insert_campaign, running_api
from tests.api_server import make_token, running_server
from tests.api_tokens import make_settings
from vfexport_core.api.page.feed import ExportFeed, FeedLimits
from vfexport_core.catalog import all_specs
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.settings import Settings

FILES = ("main.js", "api.js", "dom.js", "live.js", "oidc.js", "table.js", "style.css", "icon.svg")


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    with running_api(settings) as api:
        api.services.backend.initialise()
        yield api


@pytest.mark.parametrize("dev_mode", [True, False])
def test_the_page_comes_from_here_alone(dev_mode: bool) -> None:
    options = {} if dev_mode else {"jwt_jwks_url": "http://127.0.0.1:1/keys", "jwt_issuer": "i", "jwt_audience": "a"}
    with running_api(make_settings(dev_mode=dev_mode, **options)) as api:
        page = api.get("/")
        files = {name: api.get(f"/page/{name}") for name in FILES}
    assert page.status_code == 200
    assert f'data-dev-mode="{str(dev_mode).lower()}"' in page.text
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    for name, file in files.items():
        assert file.status_code == 200
        assert "http" not in file.text.replace("http://www.w3.org/2000/svg", ""), name
    assert "http" not in page.text


def test_a_setting_takes_the_page_away() -> None:
    with running_api(make_settings(admin_page=False)) as api:
        for path in ("/", "/page/main.js", "/page/session"):
            assert api.get(path).status_code == 404


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "..%2Ffeed.py", "__init__.py", "session.js"])
def test_nothing_else_can_be_had(api: Api, name: str) -> None:
    assert api.get(f"/page/{name}").status_code == 404


def test_a_session_offers_what_the_token_allows(api: Api, database: Database[dict[str, Any]]) -> None:
    first, second = (insert_campaign(database, name=name) for name in ("First", "Second"))

    def session(token: str) -> Any:
        response = api.get("/page/session", token=token)
        assert response.status_code == 200
        return response.json()

    all_of_them = session(api.token("*", user_id="ada"))
    assert all_of_them["userId"] == "ada"
    assert all_of_them["campaigns"] == [{"id": second, "name": "Second"}, {"id": first, "name": "First"}]
    assert [one["type"] for one in all_of_them["types"]] == [spec.type for spec in all_specs()]
    assert session(api.token(first.upper(), "f" * 24))["campaigns"] == [{"id": first, "name": "First"}]
    assert session(api.token())["campaigns"] == []
    assert api.get("/page/session").status_code == 401


def test_waves_are_for_who_may_report(api: Api, database: Database[dict[str, Any]]) -> None:
    campaign = insert_campaign(database)
    database["codes"].insert_one({"_id": "A", "campaignId": campaign, "dateKey": "17"})
    path = f"/page/campaigns/{campaign}/waves"
    assert api.get(path, token=api.token(campaign)).json() == ["17"]
    assert api.get(path, token=api.token("f" * 24)).status_code == 403
    assert api.get(f"/page/campaigns/{'f' * 24}/waves", token=api.token("*")).status_code == 404


def test_a_stream_too_many_is_answered_with_503(api: Api, database: Database[dict[str, Any]]) -> None:
    campaign = insert_campaign(database)
    feed: ExportFeed = api.app.state.feed
    with ExitStack() as streams:
        for _ in range(FeedLimits().most_streams_each):
            streams.enter_context(feed.admitted("ada"))
        answer = api.get(f"/page/campaigns/{campaign}/events", token=api.token(campaign, user_id="ada"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "NotReady")
    assert feed.streams == 0


@pytest.mark.parametrize(("polling_millis", "seconds"), [(10, 1.0), (5_000, 5.0), (60_000, 15.0)])
def test_a_campaign_is_looked_at_not_too_often_and_often_enough_for_the_page(
    polling_millis: int, seconds: float
) -> None:
    with running_api(make_settings(polling_interval_millis=polling_millis)) as api:
        feed: ExportFeed = api.app.state.feed
    assert feed._limits.interval_seconds == seconds


def test_exports_are_streamed_until_the_service_ends(
    database: Database[dict[str, Any]], settings_environment: dict[str, str], tmp_path: Path
) -> None:
    initialise(database)
    campaign = insert_campaign(database)
    with running_server(settings_environment, tmp_path / "log") as server, httpx.Client(base_url=server.url) as http:
        headers = {"Authorization": f"Bearer {make_token(http)}"}
        path = f"/page/campaigns/{campaign}/events"
        assert http.get(path).status_code == 401
        assert http.get(path.replace(campaign, "f" * 24), headers=headers).status_code == 404
        with http.stream("GET", path, headers=headers) as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            assert stream.headers["Cache-Control"] == "no-store"
            data = (json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))
            assert next(data) == []
            body = {"exportType": "entries"}
            made = http.post(f"/campaigns/{campaign}/exports", headers=headers, json=body).json()
            (seen,) = next(data)
            assert (seen["id"], seen["status"], seen["queue"]["position"]) == (made["id"], "PENDING", 1)
            assert "path" not in seen
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(120) == 0
            assert "graceful shutdown exceeded" not in server.log(), "nobody waits for a stream to end"
