"""Which MongoDB and which S3 the tests run against: embedded ones, or those that a person names.

``VFEXPORT_TEST_MONGO_URI`` and ``VFEXPORT_TEST_S3_ENDPOINT`` (with ``_ACCESS_KEY_ID``, ``_SECRET_ACCESS_KEY`` and
``_REGION``) name servers that exist, see `make test-conformance`. Whatever a test creates there has `RUN` in its name,
and goes in the end.
"""

from __future__ import annotations

import itertools
import os
import secrets
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

from tests import small_parts
from vfexport_core.embedded import MongoServer, S3Server, embedded_mongo, embedded_s3
from vfexport_core.embedded.environment import s3_client
from vfexport_core.embedded.s3 import DUMMY_KEY, REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo import MongoClient

    from tests.proxy import Proxy

PREFIX = "VFEXPORT_TEST_"
RUN = f"{os.getpid()}-{secrets.token_hex(3)}"
"""Two runs, on one machine or on two, do not meet on a server."""

_numbers = itertools.count(1)
_MOST_BYTES_OF_A_BUCKETS_NAME = 63


def unique(name: str) -> str:
    """Return a name for a bucket (or anything else) that no other test uses."""
    made = f"{name}-{RUN}-{next(_numbers)}"
    assert len(made) <= _MOST_BYTES_OF_A_BUCKETS_NAME
    return made


@contextmanager
def mongo_to_test() -> Iterator[MongoServer]:
    """Return the MongoDB that is named, or an embedded one with `configureFailPoint`, killed in the end."""
    uri = os.environ.get(f"{PREFIX}MONGO_URI")
    if uri:
        host, port = parse_uri(uri)["nodelist"][0]
        yield MongoServer(uri, port, pid=0, host=host)
        return
    # Not pytest's own folder, which is kept for three runs: this one grows by hundreds of megabytes.
    with (
        TemporaryDirectory(prefix="vfexport-mongo-", ignore_cleanup_errors=True) as folder,
        embedded_mongo(Path(folder), test_commands=True, durable=False, stop_seconds=0) as server,
    ):
        yield server


@contextmanager
def s3_to_test() -> Iterator[S3Server]:
    """Return the S3 that is named, emptied of this run's buckets in the end, or an embedded one."""
    endpoint = os.environ.get(f"{PREFIX}S3_ENDPOINT")
    if endpoint:
        key_id, key = (
            os.environ.get(PREFIX + name, DUMMY_KEY) for name in ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
        )
        server = S3Server(endpoint, 0, key_id, key, os.environ.get(f"{PREFIX}S3_REGION", REGION))
        try:
            yield server
        finally:
            _remove_buckets(server)
        return
    with (
        TemporaryDirectory(prefix="vfexport-s3-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(small_parts.VARIABLE, str(small_parts.SMALLEST))
        with embedded_s3(Path(folder), stop_seconds=0) as server:
            yield server


def through(server: MongoServer, proxy: Proxy) -> str:
    """Return the server's URI with the proxy's address in place of its own."""
    parts = urlsplit(server.uri)
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    options = [
        one for one in parts.query.split("&") if one and not one.lower().startswith(("directconn", "replicaset"))
    ]
    query = "&".join([*options, "directConnection=true"])
    return f"mongodb://{user}{proxy.host}:{proxy.port}{parts.path or '/'}?{query}"


def require_fail_points(client: MongoClient[dict[str, Any]]) -> None:
    """Skip a test that needs `configureFailPoint` where the server does not have it switched on."""
    try:
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    except OperationFailure as refusal:
        pytest.skip(f"this MongoDB runs without test commands: {refusal.code}")


def require_embedded_s3(why: str) -> None:
    """Skip a test that a server of one's own cannot pass, for a reason that lies in the test."""
    if os.environ.get(f"{PREFIX}S3_ENDPOINT"):
        pytest.skip(why)


def _remove_buckets(server: S3Server) -> None:
    with closing(s3_client(server)) as client:
        for bucket in client.list_buckets()["Buckets"]:
            if RUN in bucket["Name"]:
                _empty(client, bucket["Name"])
                client.delete_bucket(Bucket=bucket["Name"])


def _empty(client: Any, bucket: str) -> None:
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
