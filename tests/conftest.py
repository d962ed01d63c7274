"""Fixtures for every test: one MongoDB and one S3 per test process, a database and buckets of its own per test.

Under pytest-xdist each worker is a process and so has its own servers; nothing is shared, nothing needs a lock.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings as hypothesis_settings
from pymongo import MongoClient

from tests import botocore_data
from tests.servers import PREFIX as SERVERS
from tests.servers import mongo_to_test, s3_to_test, unique
from vfexport_core.embedded import embedded_environment
from vfexport_core.embedded.environment import s3_client
from vfexport_core.settings import PREFIX, BucketsSettings, Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer, S3Server

# Containers often forbid it. Here hundreds of processes would each compile what they import, for seconds at a time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

botocore_data.keep()

# How long an example takes says more about the machine than about the code.
hypothesis_settings.register_profile("vfexport", deadline=None)
hypothesis_settings.load_profile("vfexport")

# A shell without job control has what it starts in the background ignore Ctrl-C, and all that this starts in turn.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what stays for good: all modules, and some thousand tests."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """Keep what the developer's shell says about this service out of the tests (subprocesses too)."""
    for name in [name for name in os.environ if name.startswith(PREFIX) and not name.startswith(SERVERS)]:
        del os.environ[name]


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[MongoServer]:
    with mongo_to_test() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with s3_to_test() as server:
        yield server


@pytest.fixture(scope="session")
def _bucket_maker(s3_server: S3Server) -> Iterator[Any]:
    """Return the client that creates the buckets of all tests."""
    with closing(s3_client(s3_server)) as client:
        yield client


@pytest.fixture(scope="session")
def mongo_client(mongo_server: MongoServer) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient(mongo_server.uri, tz_aware=True) as client:
        yield client


@contextmanager
def new_database(client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    """Return an empty database that nobody else sees, and drop it afterwards."""
    name = unique("test")
    try:
        yield client[name]
    finally:
        client.drop_database(name)


@pytest.fixture
def database(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    """Return an empty database that no other test sees; dropped afterwards."""
    with new_database(mongo_client) as database:
        yield database


@pytest.fixture
def settings(
    mongo_server: MongoServer,
    s3_server: S3Server,
    database: Database[dict[str, Any]],
    settings_environment: dict[str, str],
) -> Settings:
    """Return settings that point at this test's database and at four empty buckets."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings_environment.items():
            patch.setenv(name, value)
        return load_settings(env_file=None)


@pytest.fixture
def settings_environment(
    mongo_server: MongoServer, s3_server: S3Server, _bucket_maker: Any, database: Database[dict[str, Any]]
) -> dict[str, str]:
    """Return the same as environment variables, for processes that a test starts."""
    environment = embedded_environment(mongo_server, s3_server, bucket_suffix=unique(""), client=_bucket_maker)
    # What a test makes fail has failed: that it is tried again is for those that say so.
    return environment | {f"{PREFIX}MONGO_DATABASE": database.name, f"{PREFIX}AUTO_RETRIES": "0"}


@pytest.fixture
def buckets_settings(settings: Settings) -> BucketsSettings:
    return settings.buckets
