"""One service for the tests from end to end: every process that takes part in production, on embedded servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api_tokens import EC_KEY, private_pem
from tests.conftest import new_database
from tests.dagster.conftest import Buckets
from tests.e2e import leaks
from tests.e2e.stack import Stack, running
from tests.otlp_collector import Collector, collecting
from tests.s3_faults import Reset
from tests.s3_proxy import S3Proxy
from tests.servers import unique
from vfexport_core.embedded import embedded_environment
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.services.initialise import initialise
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from pymongo import MongoClient
    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer, S3Server

ENTRIES = 300
DEV_KEY = private_pem(EC_KEY)


@pytest.fixture(scope="module")
def data(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    with new_database(mongo_client) as database:
        initialise(database)
        yield database


@pytest.fixture(scope="module")
def campaign(data: Database[dict[str, Any]]) -> str:
    return seed_campaign(data, entries=ENTRIES)


@pytest.fixture(scope="module")
def s3_proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    """Every process reaches S3 through it, so that a test can hold a run where it wants to."""
    with S3Proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Every process sends its traces there."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def variables(
    mongo_server: MongoServer,
    mongo_client: MongoClient[dict[str, Any]],
    s3_server: S3Server,
    s3_proxy: S3Proxy,
    data: Database[dict[str, Any]],
) -> dict[str, str]:
    """The environment of all processes; what is secret in it is marked."""
    environment = embedded_environment(mongo_server, s3_server, bucket_suffix=unique("-e2e"))
    secrets = {name: leaks.S3_SECRET for name in environment if name.endswith("__SECRET_ACCESS_KEY")}
    secrets |= {"VFEXPORT_CCPA_HASH_KEY": leaks.HASH_KEY, "VFEXPORT_DEV_PRIVATE_KEY": DEV_KEY}
    secrets |= {"VFEXPORT_MONGO_URI": leaks.marked_user(mongo_client, mongo_server.uri)}
    through_proxy = {name: s3_proxy.url for name in environment if name.endswith("__ENDPOINT_URL")}
    return (
        environment
        | secrets
        | through_proxy
        | {"VFEXPORT_MONGO_DATABASE": data.name, "VFEXPORT_POLLING_INTERVAL_MILLIS": "200"}
        | {"VFEXPORT_LEASE_SECONDS": "8", "VFEXPORT_AUTO_RETRIES": "0"}
    )


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str], campaign: str, collector: Collector
) -> Iterator[Stack]:
    traced = variables | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with running(tmp_path_factory.mktemp("stack"), traced) as stack:
        yield stack


@pytest.fixture(scope="module")
def stored(variables: dict[str, str]) -> Iterator[Buckets]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        buckets = Buckets(load_settings(None))
    yield buckets
    buckets.client.close()


@pytest.fixture
def gate(s3_proxy: S3Proxy) -> Iterator[threading.Event]:
    """Hold every file in the moment before it would appear; those behind the gate are lost when it opens."""
    s3_proxy.reset()
    yield s3_proxy.hold("PutObject", then=Reset())
    s3_proxy.reset()
