"""The API as it runs in production: uvicorn with two worker processes, over HTTP, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.api_client import insert_campaign, wait_for
from tests.api_server import WORKERS, make_token, running_server
from tests.conftest import new_database
from tests.servers import unique
from vfexport_core.embedded import embedded_environment
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo import MongoClient
    from pymongo.database import Database

    from tests.api_server import Server
    from vfexport_core.embedded import MongoServer, S3Server

pytestmark = pytest.mark.xdist_group("api server")


@pytest.fixture(scope="module")
def stored(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    with new_database(mongo_client) as database:
        initialise(database)
        yield database


@pytest.fixture(scope="module")
def server(
    mongo_server: MongoServer,
    s3_server: S3Server,
    stored: Database[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    environment = embedded_environment(mongo_server, s3_server, bucket_suffix=unique("-api"))
    environment["VFEXPORT_MONGO_DATABASE"] = stored.name
    with running_server(environment, tmp_path_factory.mktemp("api") / "log") as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def test_two_hundred_concurrent_requests_make_one_export(
    server: Server, http: httpx.Client, stored: Database[dict[str, Any]]
) -> None:
    """L3 over two processes; each accepts the tokens of the other."""
    campaign, token = insert_campaign(stored), make_token(http)

    async def post_from_clients() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {token}"}
        clients = [httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) for _ in range(4)]
        path, body = f"/campaigns/{campaign}/exports", {"exportType": "entries"}
        answers = await asyncio.gather(*(client.post(path, json=body) for client in clients for _ in range(50)))
        for client in clients:
            await client.aclose()
        return answers

    answers = asyncio.run(post_from_clients())
    assert Counter(answer.status_code for answer in answers) == {200: 199, 202: 1}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert stored["exports"].count_documents({"campaignId": campaign}) == 1


def test_a_body_of_ten_megabytes_is_answered(http: httpx.Client, stored: Database[dict[str, Any]]) -> None:
    path, token = f"/campaigns/{insert_campaign(stored)}/exports", make_token(http)
    big = b'{"exportType":"' + b"x" * 10_000_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    for authorization, status in ((None, 401), (token, 413)):
        if authorization:
            headers["Authorization"] = f"Bearer {authorization}"
        response = http.post(path, content=big, headers=headers)
        assert (response.status_code, response.json()["error"]["status"]) == (status, status)
        chunked = http.post(path, content=iter([big[:5_000_000], big[5_000_000:]]), headers=headers)
        assert chunked.status_code == status
    assert http.get("/heartbeat").status_code == 200


def test_endless_headers_take_no_memory(server: Server, http: httpx.Client) -> None:
    def memory() -> float:
        lines = http.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes "))

    before = memory()
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
        connection.sendall(b"GET /heartbeat HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(ConnectionError):  # refused: in the middle, mostly
            for _ in range(40):
                connection.sendall(b"X: y\r\n" * (2**20 // 6))
            connection.sendall(b"\r\n")
            assert b" 200 " not in connection.recv(65_536)
    assert memory() - before < 2**25


def test_line_ends_in_a_correlation_id_add_no_header(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        request = b"GET /heartbeat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Correlation-Id: a\r\n Set-Cookie: b=1"
        connection.sendall(request + b"\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"set-cookie" not in answer.lower()


def test_a_client_that_hangs_up_in_the_middle_of_its_body_is_no_error(
    server: Server, http: httpx.Client, stored: Database[dict[str, Any]]
) -> None:
    lines = [
        f"POST /campaigns/{insert_campaign(stored)}/exports HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {make_token(http)}",
        "X-Correlation-Id: hung-up",
        "Content-Type: application/json",
        "Content-Length: 100",
    ]
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
        connection.sendall("\r\n".join([*lines, "", "{"]).encode())
    (line,) = wait_for(lambda: logged_requests(server, "hung-up"))
    assert line["status"] == 0
    assert {line["level"] for line in server.lines() if line.get("correlationId") == "hung-up"} == {"INFO"}


def test_the_page_and_its_assets_need_no_internet(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "http:" not in page.text
    assert "https:" not in page.text
    assert "//" not in page.text
    for name, kind in (("swagger-ui-bundle.js", "text/javascript"), ("swagger-ui.css", "text/css")):
        assert f"docs/assets/{name}" in page.text
        asset = http.get(f"/docs/assets/{name}")
        assert (asset.status_code, len(asset.content) > 100_000) == (200, True)
        assert asset.headers["Content-Type"].startswith(kind)
    for bad in ("redoc.standalone.js", "..%2f..%2fcore.py", "../../core.py"):
        assert http.get(f"/docs/assets/{bad}").status_code == 404
    assert http.get("/openapi.json").json()["openapi"].startswith("3.1")


def logged_requests(server: Server, *correlation_ids: str) -> list[dict[str, Any]]:
    return [
        line for line in server.lines() if line.get("correlationId") in correlation_ids and line["message"] == "request"
    ]


def test_logs_are_json_with_correlation_ids_and_without_tokens(
    server: Server, http: httpx.Client, stored: Database[dict[str, Any]]
) -> None:
    token = make_token(http, userId="user-in-no-log")
    path = f"/campaigns/{insert_campaign(stored)}/exports"
    headers = {"Authorization": f"Bearer {token}", "X-Correlation-Id": "find-me"}
    assert http.post(path, json={"exportType": "entries"}, headers=headers).status_code == 202
    assert (
        http.get("/nothing/fan@example.com?fan@example.com", headers={"X-Correlation-Id": "find-too"}).status_code
        == 404
    )
    lines = wait_for(lambda: found if len(found := logged_requests(server, "find-me", "find-too")) == 2 else None)
    assert {name: lines[0][name] for name in ("message", "method", "route", "status")} == {
        "message": "request",
        "method": "POST",
        "route": "/campaigns/{campaignId}/exports",
        "status": 202,
    }
    assert (lines[1]["route"], lines[1]["status"]) == (None, 404)
    log = server.log()
    assert token not in log
    assert token.rpartition(".")[2] not in log
    assert "fan@example.com" not in log
    assert "user-in-no-log" not in log
    assert "PRIVATE KEY" not in log


def test_metrics_are_those_of_both_processes(server: Server) -> None:
    """Whichever of the two answers, it counts what both were asked."""

    def counted() -> float:
        with httpx.Client(base_url=server.url, timeout=30) as fresh:  # a new connection, to whoever takes it
            text = fresh.get("/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("vfexport_http_requests_total{")]
        assert "vfexport_api_processes 2.0" in text
        return sum(float(line.rpartition(" ")[2]) for line in lines if 'route="/export-types"' in line)

    before = counted()
    for _ in range(20):
        with httpx.Client(base_url=server.url, timeout=30) as fresh:
            fresh.get("/export-types")
    assert {counted() for _ in range(20)} == {before + 20}


def test_its_processes_end_when_the_one_that_started_them_is_killed(
    mongo_server: MongoServer, s3_server: S3Server, stored: Database[dict[str, Any]], tmp_path: Path
) -> None:
    """Else they would go on listening, and it could not be started again."""
    environment = embedded_environment(mongo_server, s3_server, bucket_suffix=unique("-api"))
    environment["VFEXPORT_MONGO_DATABASE"] = stored.name
    with running_server(environment, tmp_path / "log") as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        server.kill()
        wait_for(lambda: _is_free(address))


def _is_free(address: tuple[str, int]) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(address)
        except OSError:
            return False
        return True


def test_it_is_ready(http: httpx.Client) -> None:
    ready = wait_for(lambda: http.get("/ready").json().get("status") == "ready")
    assert ready
    assert "server" not in http.get("/heartbeat").headers


def test_a_request_at_hand_is_answered_when_the_service_is_told_to_end(
    server: Server, http: httpx.Client, stored: Database[dict[str, Any]]
) -> None:
    """The last test: who is inside is served, nobody else is any more."""
    body = b'{"exportType": "codes"}'
    lines = [
        f"POST /campaigns/{insert_campaign(stored)}/exports HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {make_token(http)}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Expect: 100-continue",
    ]
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(1_000).startswith(b"HTTP/1.1 100 "), "it is at hand"
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.log().count('"Shutting down"') == WORKERS)
        connection.sendall(body)
        assert connection.recv(10_000).startswith(b"HTTP/1.1 202 ")
