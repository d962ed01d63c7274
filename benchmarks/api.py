"""What the API answers a second and how soon, with 1,000 and with 1,000,000 export documents; and a burst of requests.

    .venv/bin/python benchmarks/api.py                              both sizes; storing a million takes minutes
    .venv/bin/python benchmarks/api.py --documents 1000 20000
    .venv/bin/python benchmarks/api.py --concurrency 1              how soon a single caller has its answer

Two API processes, the embedded MongoDB and S3, and the callers share this machine. Prints a table per size; exits 1
when an answer was not the expected one, or when the burst made another number of exports than there are to make.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from bson import ObjectId
from pymongo import MongoClient
from stored_exports import store_exports

from vfexport_core.catalog import all_specs
from vfexport_core.embedded import embedded_environment, embedded_mongo, embedded_s3
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

DATABASE = "benchmark"
WORKERS = 2
# So many exports does a campaign have; as many of the campaigns are asked about.
PER_CAMPAIGN = 100
MEASURED = 200
CAMPAIGNS = 50
BURST = 2_000
BURST_CALLERS = 200
PROGRAM = "import sys; from vfexport_core.api.server import serve; from vfexport_core.settings import load_settings\n"
PROGRAM += f"serve(load_settings(None), port=int(sys.argv[1]), workers={WORKERS})"

Call = tuple[str, str, dict[str, Any]]


@dataclass
class Route:
    """One line of the table: what is called, and which status is right."""

    name: str
    calls: Iterator[Call]
    expected: set[int]
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int | str] = field(default_factory=Counter)
    took: float = 0.0

    @property
    def wrong(self) -> dict[int | str, int]:
        """How many answers had another status, and how many requests broke off, by the name of the error."""
        return {status: number for status, number in self.statuses.items() if status not in self.expected}


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[str]:
    """Run the API in processes of its own; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", PROGRAM, str(port)]
    with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL) as process:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        try:
            while True:
                try:
                    httpx.get(f"{url}/ready", timeout=20)
                    break
                except httpx.TransportError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()


def routes(ones: list[str], campaigns: list[str], tags: dict[str, str], pages: list[str]) -> list[Route]:
    """Return what is measured."""
    lists = [f"/campaigns/{campaign}/exports" for campaign in campaigns]

    def each(paths: list[str], method: str = "GET", **options: Any) -> Iterator[Call]:
        return ((method, path, options) for path in itertools.cycle(paths))

    def tagged() -> Iterator[Call]:
        return (("GET", path, {"headers": {"If-None-Match": tag}}) for path, tag in itertools.cycle(tags.items()))

    return [
        Route("POST export, active already", each(lists, "POST", json={"exportType": "scoring"}), {200, 202}),
        Route("GET export", each(ones), {200}),
        Route("GET export, 304", tagged(), {304}),
        Route("GET exports", each(lists), {200}),
        Route(
            "GET exports, by type and status", each([f"{one}?exportType=codes&status=FINISHED" for one in lists]), {200}
        ),
        Route("GET exports, a page further on", each(pages), {200}),
        Route("POST cancel, of a FINISHED one", each([f"{one}/cancel" for one in ones], "POST"), {409}),
        Route("GET export-types", each(["/export-types"]), {200}),
        Route("GET heartbeat", each(["/heartbeat"]), {200}),
        Route("GET ready", each(["/ready"]), {200}),
        Route("GET metrics", each(["/metrics"]), {200}),
    ]


async def call(client: httpx.AsyncClient, route: Route, requests: int, concurrency: int) -> None:
    """Make the route's calls, `concurrency` at a time."""
    left = iter(range(requests))

    async def caller() -> None:
        for _ in left:
            method, path, options = next(route.calls)
            began = time.perf_counter()
            try:
                status: int | str = (await client.request(method, path, **options)).status_code
            except httpx.TransportError as error:
                status = type(error).__name__
            route.seconds.append(time.perf_counter() - began)
            route.statuses[status] += 1

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    route.took = time.perf_counter() - began


async def measure(
    client: httpx.AsyncClient, ones: list[str], campaigns: list[str], requests: int, concurrency: int
) -> list[Route]:
    """Measure every route, one after the other."""
    async with client:
        tags = {path: (await client.get(path)).headers["ETag"] for path in ones[:100]}
        pages = await _further_pages(client, campaigns)
        found = routes(ones, campaigns, tags, pages)
        for route in found:
            await call(client, route, 2 * concurrency, concurrency)  # warm
            route.seconds.clear()
            await call(client, route, requests, concurrency)
    return found


async def _further_pages(client: httpx.AsyncClient, campaigns: list[str]) -> list[str]:
    """Follow `Link` a few times in each campaign; as many as there are."""
    pages = []
    for campaign in campaigns:
        path = f"/campaigns/{campaign}/exports?limit=5"
        for _ in range(3):
            link = (await client.get(path)).links.get("next")
            if link is None:
                break
            path = link["url"]
        pages.append(path)
    return pages


async def burst(url: str, token: str, campaigns: list[str]) -> Route:
    """Ask `BURST` times, from many callers at once, for every type of every campaign."""
    wanted = list(itertools.product(campaigns, [spec.type for spec in all_specs()]))
    asked = [*wanted, *random.Random(1).choices(wanted, k=BURST - len(wanted))]
    random.Random(2).shuffle(asked)
    bodies = [(path, {"exportType": kind} | ({"dateKey": "1"} if kind == "codeWaves" else {})) for path, kind in asked]
    calls: Iterator[Call] = (("POST", f"/campaigns/{path}/exports", {"json": body}) for path, body in bodies)
    route = Route("burst", calls, {200, 202})
    async with _client(url, token, BURST_CALLERS) as client:
        await call(client, route, BURST, BURST_CALLERS)
    print(f"{BURST:,} POSTs from {BURST_CALLERS} callers in {route.took:.1f} s, {_figures(route)}")
    return route


def _client(url: str, token: str, connections: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, limits=limits, timeout=120)


def _figures(route: Route) -> str:
    millis = [1_000 * value for value in route.seconds]
    cuts = statistics.quantiles(millis, n=100, method="inclusive")
    return f"{len(millis) / route.took:>8,.0f}/s{cuts[49]:>9.1f}{cuts[94]:>9.1f}{cuts[98]:>9.1f}{max(millis):>9.1f}"


def show(found: list[Route], documents: int, concurrency: int) -> bool:
    """Print the table; True when every answer was the expected one."""
    print(f"\n{documents:,} export documents, {concurrency} callers at a time; milliseconds")
    print(f"{'':34}{'answers':>10}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}")
    for route in found:
        print(f"{route.name:34}{_figures(route)}{f'  wrong: {route.wrong}' if route.wrong else ''}", flush=True)
    return not any(route.wrong for route in found)


def run(options: argparse.Namespace, url: str, database: Database[dict[str, Any]]) -> bool:
    """Measure at each size, then the burst; True when all was as expected."""
    body = {"userId": "benchmark", "permissions": {"*": ["REPORT"]}}
    token = httpx.post(f"{url}/dev/token", json=body).json()["token"]
    right, stored = True, 0
    for documents in options.documents:
        began = time.perf_counter()
        campaigns = add_campaigns(database, max(1, (documents - stored) // PER_CAMPAIGN))
        ones = store_exports(database, campaigns, documents - stored)
        stored = documents
        print(f"{documents:,} documents stored after {time.perf_counter() - began:.0f} s", flush=True)
        client = _client(url, token, options.concurrency)
        found = asyncio.run(measure(client, ones, campaigns[:MEASURED], options.requests, options.concurrency))
        right &= show(found, documents, options.concurrency)
    print()
    campaigns = add_campaigns(database, CAMPAIGNS)
    asked = asyncio.run(burst(url, token, campaigns))
    made = database["exports"].count_documents({"campaignId": {"$in": campaigns}, "status": "PENDING"})
    print(f"statuses {json.dumps(asked.statuses)}, exports made {made} of {CAMPAIGNS * len(all_specs())}")
    return right and made == CAMPAIGNS * len(all_specs()) and not asked.wrong


def add_campaigns(database: Database[dict[str, Any]], number: int) -> list[str]:
    """Add so many campaigns and give their ids."""
    ids = [ObjectId() for _ in range(number)]
    database["campaigns"].insert_many({"_id": one, "name": "Benchmark", "type": "standard"} for one in ids)
    return [str(one) for one in ids]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, nargs="*", default=[1_000, 1_000_000])
    parser.add_argument("--requests", type=int, default=1_000, help="per route")
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="vfexport-bench-", ignore_cleanup_errors=True) as folder,
        embedded_mongo(Path(folder) / "mongo", durable=False, stop_seconds=0, cache_size="4G") as mongo,
        embedded_s3(Path(folder) / "s3", stop_seconds=0) as s3,
        MongoClient[Any](mongo.uri, tz_aware=True) as client,
    ):
        environment = embedded_environment(mongo, s3, bucket_suffix="-benchmark") | {
            "VFEXPORT_MONGO_DATABASE": DATABASE
        }
        database = client[DATABASE]
        initialise(database)
        with serving(environment) as url:
            return 0 if run(options, url, database) else 1


if __name__ == "__main__":
    sys.exit(main())
