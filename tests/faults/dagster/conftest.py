"""One service for the scenarios of an `xdist_group`: it takes long to start, and they wait more than they compute.

Its runs reach MongoDB and S3 through proxies.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.faults.checker import Checker
from tests.faults.dagster.scene import Scene
from tests.faults.dagster.service import ScanGate, Service, kill_all_of
from tests.faults.history import History
from tests.proxy import Proxy
from tests.s3_proxy import S3Proxy
from tests.servers import unique
from vfexport_core.embedded import embedded_environment
from vfexport_core.embedded.demo.children import Children
from vfexport_core.embedded.demo.dagster import prepare_home
from vfexport_core.embedded.demo.folder import find_checkout
from vfexport_core.embedded.demo.isolation import isolated
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.services.initialise import initialise
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo import MongoClient

    from vfexport_core.embedded import MongoServer, S3Server

ENTRIES = 300
LEASE_SECONDS = 4
STALL_SECONDS = 10


@pytest.fixture(scope="package")
def running_scene(
    mongo_server: MongoServer, s3_server: S3Server, mongo_client: MongoClient[dict[str, Any]]
) -> Iterator[Scene]:
    gate, name = ScanGate(), f"test_dagster_faults_{os.getpid()}"
    database = mongo_client[name]
    with (
        TemporaryDirectory(prefix="vfexport-dagster-", ignore_cleanup_errors=True) as folder,
        isolated(Path(folder)),
        Proxy((mongo_server.host, mongo_server.port), on_block=gate.on_block) as mongo,
        S3Proxy(s3_server.endpoint_url) as s3,
        ExitStack() as exits,
    ):
        os.environ.update(embedded_environment(mongo_server, s3_server, bucket_suffix=unique("-faults")))
        os.environ["VFEXPORT_MONGO_DATABASE"] = name
        os.environ["VFEXPORT_LEASE_SECONDS"] = str(LEASE_SECONDS)
        os.environ["VFEXPORT_POLLING_INTERVAL_MILLIS"] = "200"
        os.environ["VFEXPORT_AUTO_RETRIES"] = "0"  # an export that lost its worker waits to be looked at
        os.environ["VFEXPORT_STORAGE_STALL_SECONDS"] = str(STALL_SECONDS)
        settings = load_settings(None)
        exits.callback(mongo_client.drop_database, name)
        campaigns = [seed_campaign(database, entries=ENTRIES, seed=seed) for seed in range(3)]
        checker = Checker(database, settings, exits.enter_context(History(database)), campaigns[0])
        initialise(checker.database)
        os.environ["VFEXPORT_MONGO_URI"] = f"mongodb://{mongo.host}:{mongo.port}/?directConnection=true"
        for variable in [variable for variable in os.environ if variable.endswith("__ENDPOINT_URL")]:
            os.environ[variable] = s3.url
        prepare_home(find_checkout(), Path(folder))
        home = Path(folder) / "dagster"
        exits.callback(kill_all_of, home)
        service = Service(Children(Path(folder), exits), home)
        exits.callback(service.close)
        service.start("code", "daemon")
        exits.callback(gate.open)
        client = exits.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{service.web_port}", timeout=60))
        yield Scene(client, service, checker, campaigns[1:], gate, s3)


@pytest.fixture
def scene(running_scene: Scene) -> Iterator[Scene]:
    """Return the scene with everything flowing, and let it flow again afterwards."""
    running_scene.let_go()
    running_scene.s3.reset()
    yield running_scene
    running_scene.let_go()
