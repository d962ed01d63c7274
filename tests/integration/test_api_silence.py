"""A MongoDB that swallows everything while many callers come at once: all are answered about as soon as one is."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.api_client import insert_campaign
from tests.api_server import make_token, running_server
from tests.conftest import new_database
from tests.proxy import Proxy
from tests.servers import unique
from vfexport_core.embedded import embedded_environment
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo import MongoClient
    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer, S3Server

CALLERS = 100


@pytest.fixture
def stored(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    with new_database(mongo_client) as database:
        initialise(database)
        yield database


def seconds_of(action: Any) -> tuple[float, Any]:
    started = time.monotonic()
    result = action()
    return time.monotonic() - started, result


def test_many_callers_at_once_are_answered_as_soon_as_one(
    mongo_server: MongoServer, s3_server: S3Server, stored: Database[dict[str, Any]], tmp_path: Path
) -> None:
    environment = embedded_environment(mongo_server, s3_server, bucket_suffix=unique("-silent"))
    campaign = insert_campaign(stored)
    with Proxy(("127.0.0.1", mongo_server.port)) as proxy:
        environment["VFEXPORT_MONGO_DATABASE"] = stored.name
        environment["VFEXPORT_MONGO_URI"] = f"mongodb://{proxy.host}:{proxy.port}/?directConnection=true"
        with running_server(environment, tmp_path / "log") as server, httpx.Client(base_url=server.url) as one:
            headers = {"Authorization": f"Bearer {make_token(one)}"}
            path, body = f"/campaigns/{campaign}/exports", {"exportType": "entries"}

            async def ask(method: str, number: int) -> list[httpx.Response]:
                limits = httpx.Limits(max_connections=None)
                async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60, limits=limits) as client:
                    json = body if method == "POST" else None
                    return await asyncio.gather(*(client.request(method, path, json=json) for _ in range(number)))

            longest = 0.0
            for method, good in (("POST", {202, 200}), ("GET", {200})):
                proxy.restore()
                while not {answer.status_code for answer in asyncio.run(ask(method, 8))} <= good:
                    pass  # until it is heard of again
                proxy.blackhole()
                alone, answers = seconds_of(lambda method=method: asyncio.run(ask(method, 1)))
                assert [answer.status_code for answer in answers] == [503]
                longest = max(longest, alone)  # one may come to the process that still knows of the last silence
                proxy.restore()
                while not {answer.status_code for answer in asyncio.run(ask(method, 8))} <= good:
                    pass
                proxy.blackhole()
                together, answers = seconds_of(lambda method=method: asyncio.run(ask(method, CALLERS)))
                print(f"{method}: one {alone:.2f} s, {CALLERS} at once {together:.2f} s")  # noqa: T201
                assert {answer.status_code for answer in answers} == {503}
                assert {answer.json()["error"]["code"] for answer in answers} == {"SourceUnavailable"}
                assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
                # One after the other, or by turns of as many as there are threads, would take a multiple.
                assert together < 2 * longest
            proxy.restore()
