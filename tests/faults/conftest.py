"""What scenarios of faults share: a file of several parts, workers whose traffic goes through proxies, a checker."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from tests.builders import make_campaign, make_entry, make_market, make_promoter, make_scoring, make_user
from tests.cli_helpers import Cli
from tests.delivered import load
from tests.faults.checker import Checker
from tests.faults.failing import APP, Saboteur
from tests.faults.history import History
from tests.faults.scenes import LEASE_SECONDS, SAMPLE_ROWS, Scene
from tests.proxy import Proxy
from tests.reference import Campaign
from tests.s3_proxy import S3Proxy
from tests.small_parts import SMALLEST, use_small_parts
from vfexport_core.services.initialise import initialise
from vfexport_core.storage.s3.bucket import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer, S3Server
    from vfexport_core.settings import Settings

MIB = 2**20
ENTRIES, OF_THEM_BRITISH = 18, 2
SMALL_WORKER = [sys.executable, "-m", "tests.faults.small_worker"]
SMALL = 2


def large_campaign(entries: int = ENTRIES, row_bytes: int = MIB) -> Campaign:
    """A campaign of few rows, of which an eighth of a part each makes a file of several parts, at little cost."""
    numbers = range(1, entries + 1)
    return Campaign(
        make_campaign(ticketUrl="https://tickets.example/" + "x" * (row_bytes * 6 // 10)),
        [make_market()],
        [make_user(number) for number in numbers],
        [make_entry(number, fields={"color": "c" * row_bytes}) for number in numbers],
        [make_scoring(number, countryCode="GB" if number <= OF_THEM_BRITISH else "US") for number in numbers],
        promoters=[make_promoter()],
    )


def small_campaign() -> Campaign:
    return Campaign(make_campaign(SMALL), [make_market(SMALL, SMALL)], entries=[make_entry(1, SMALL)])


@pytest.fixture
def campaign(database: Database[dict[str, Any]]) -> str:
    return load(database, large_campaign(row_bytes=SMALLEST // 8))


@pytest.fixture
def history(database: Database[dict[str, Any]]) -> Iterator[History]:
    with History(database) as history:
        yield history


@pytest.fixture
def scene(  # noqa: PLR0917
    database: Database[dict[str, Any]],
    campaign: str,
    settings: Settings,
    settings_environment: dict[str, str],
    mongo_server: MongoServer,
    s3_server: S3Server,
    history: History,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    use_small_parts(monkeypatch)
    settings = settings.model_copy(update={"sample_rows": SAMPLE_ROWS})
    checker = Checker(database, settings, history, load(database, small_campaign()))
    initialise(checker.database)
    with Proxy((mongo_server.host, mongo_server.port)) as mongo, S3Proxy(s3_server.endpoint_url) as s3:
        environment = {
            name: s3.url if value == s3_server.endpoint_url else value for name, value in settings_environment.items()
        }
        environment |= {
            "VFEXPORT_MONGO_URI": f"mongodb://{mongo.host}:{mongo.port}/?directConnection=true",
            "VFEXPORT_LEASE_SECONDS": str(LEASE_SECONDS),
            "VFEXPORT_POLLING_INTERVAL_MILLIS": "50",
            "VFEXPORT_SAMPLE_ROWS": str(SAMPLE_ROWS),
        }
        yield Scene(checker, campaign, Cli(environment, tmp_path, SMALL_WORKER), mongo, s3)


@pytest.fixture
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have requests to S3, and reading, given up soon."""
    quick = functools.partial(RetryPolicy, attempts=3, base_seconds=0.001)
    monkeypatch.setattr("vfexport_core.storage.buckets.RetryPolicy", quick)
    monkeypatch.setattr("vfexport_core.storage.buckets._QUICK", quick())
    monkeypatch.setattr("vfexport_core.mongo.retry._FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def saboteur(mongo_client: MongoClient[Any]) -> Iterator[Saboteur]:
    saboteur = Saboteur(mongo_client)
    yield saboteur
    saboteur.heal()


@pytest.fixture
def shaky(
    mongo_server: MongoServer, database: Database[dict[str, Any]], saboteur: Saboteur, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database[dict[str, Any]]]:
    """The test's database through a client under which commands fail, and which does not try again by itself."""
    options: dict[str, Any] = {"retryReads": False, "retryWrites": False, "event_listeners": [saboteur]}
    # After some errors the driver waits until it has heard of the server again: it asks often.
    options |= {"serverMonitoringMode": "poll", "heartbeatFrequencyMS": 500, "serverSelectionTimeoutMS": 1_000}
    monkeypatch.setattr("pymongo.common.MIN_HEARTBEAT_INTERVAL", 0.02)
    with MongoClient[Any](mongo_server.uri, appname=APP, **options) as client:
        yield client[database.name]
