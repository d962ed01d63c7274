"""The whole service as `deploy/` describes it, once as the cluster's manifests do and once as compose does."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from tests.api_tokens import AUDIENCE, ISSUER, RSA_KEY, public_pem
from tests.conftest import new_database
from tests.deploy.cluster import Cluster, running_cluster
from tests.deploy.image import Image, build
from tests.deploy.machine import Machine
from tests.deploy.postgres import Postgres, programs, running_postgres
from tests.deploy.processes import in_compose, in_kubernetes
from tests.deploy.service import Service, running_service
from tests.servers import unique
from vfexport_core.embedded import embedded_environment
from vfexport_core.embedded.process import HOST
from vfexport_core.embedded.synthetic import seed_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo import MongoClient
    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer, S3Server

ENTRIES = 300
PLACES = {"kubernetes": in_kubernetes, "compose": in_compose}
# As a person may choose one: in an address, some of it has to be escaped.
PASSWORD = "p@ss:word"


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """Return a temporary folder that other users may enter, unlike pytest's."""
    with TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    with open_folder("vfexport-image-") as folder:
        yield build(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip("no PostgreSQL here: install Debian's package postgresql, or put its programs on the path")
    with open_folder("vfexport-postgres-") as folder, running_postgres(folder, "dagster", PASSWORD) as server:
        yield server


@pytest.fixture(scope="session", params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def data(place: str, mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    """Return a database with nothing of the service's own: that is for its `init` to make."""
    with new_database(mongo_client) as database:
        yield database


@pytest.fixture(scope="session")
def campaign(data: Database[dict[str, Any]]) -> str:
    return seed_campaign(data, entries=ENTRIES)


@pytest.fixture(scope="session")
def secrets(
    place: str, data: Database[dict[str, Any]], mongo_server: MongoServer, s3_server: S3Server, postgres: Postgres
) -> dict[str, dict[str, str]]:
    """Return the settings of production, by secret: tokens are an issuer's, not those of the dev mode."""
    service = embedded_environment(mongo_server, s3_server, bucket_suffix=unique(f"-{place}"))
    del service["VFEXPORT_DEV_MODE"]
    service |= {
        "VFEXPORT_MONGO_DATABASE": data.name,
        "VFEXPORT_JWT_PUBLIC_KEY": public_pem(RSA_KEY),
        "VFEXPORT_JWT_ISSUER": ISSUER,
        "VFEXPORT_JWT_AUDIENCE": AUDIENCE,
    }
    dagster = {
        "DAGSTER_PG_HOST": HOST,
        "DAGSTER_PG_PORT": str(postgres.port),
        "DAGSTER_PG_DB": postgres.user,
        "DAGSTER_PG_USERNAME": postgres.user,
        "DAGSTER_PG_PASSWORD": postgres.password,
    }
    return {"vfexport": service, "dagster": dagster}


@pytest.fixture(scope="session")
def cluster(place: str) -> Iterator[Cluster | None]:
    """Return what stands for the cluster's API, where the service is in one."""
    if place != "kubernetes":
        yield None
        return
    with running_cluster() as cluster, cluster.running:
        yield cluster


@pytest.fixture(scope="session")
def service(
    place: str, secrets: dict[str, dict[str, str]], campaign: str, image: Image, cluster: Cluster | None
) -> Iterator[Service]:
    # In this order: without PostgreSQL nothing is built.
    with open_folder(f"vfexport-{place}-") as folder:
        machine = Machine(folder, image, secrets)
        if cluster is not None:
            cluster.machine = machine
            machine.config_maps["dagster.yaml"] = cluster.configuration(folder)
        workspace = image.path("/etc/vfexport/workspace.yaml")
        workspace.write_text(re.sub(r"\bport: \d+", f"port: {machine.ports['4000']}", workspace.read_text()))
        with running_service(machine, PLACES[place]()) as service:
            yield service
