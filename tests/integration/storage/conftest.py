"""A bucket of its own per test, the service's way to it through the fault proxy, and a direct one for looking.

Every test runs twice: with a client as it is made for an address of one's own, and with one as it is made for AWS.
"""

from __future__ import annotations

from functools import partial

import pytest

from tests.s3_proxy import S3Proxy
from tests.s3_wire import resolve_to
from tests.servers import require_embedded_s3, unique
from tests.small_parts import small_limits
from vfexport_core.settings import BucketSettings
from vfexport_core.storage.object_store import NewObject
from vfexport_core.storage.s3.bucket import RetryPolicy, S3Bucket
from vfexport_core.storage.s3.clients import make_client, make_session
from vfexport_core.storage.s3.s3_store import S3Store

ATTEMPTS = 3
KEY = "64b7f0c2a1d3e4f5a6b7c8d9/entries/Eras-Tour-20250304T050607Z-64b7f0c2a1d3e4f5a6b7c8e0.csv"
STAGING_KEY = "_staging/64b7f0c2a1d3e4f5a6b7c8e0-1/1"
METADATA = {"export-id": "64b7f0c2a1d3e4f5a6b7c8e0", "export-type": "entries"}
DISPOSITION = 'attachment; filename="Eras Tour - entries.csv"'


class Store:
    """What is in a bucket, looked at without the proxy."""

    def __init__(self, client, bucket):
        self.client = client
        self.bucket = bucket

    def objects(self):
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def uploads(self):
        return [item["Key"] for item in self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])]

    def versions(self):
        page = self.client.list_object_versions(Bucket=self.bucket)
        return [item["Key"] for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]]

    def put(self, key, body=b"x", owner=None):
        metadata = {} if owner is None else {"export-id": owner}
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, Metadata=metadata)

    def version(self):
        """Make the bucket a versioned one."""
        self.client.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})

    def read(self, key=KEY):
        answer = self.client.get_object(Bucket=self.bucket, Key=key)
        with answer["Body"] as body:
            return body.read()

    def head(self, key=KEY):
        return self.client.head_object(Bucket=self.bucket, Key=key)

    def assert_empty(self):
        assert (self.uploads(), self.versions(), self.objects()) == ([], [], [])


@pytest.fixture(scope="session")
def make_s3_client(s3_server):
    """Make clients as the service does; closed in the end."""
    session, clients = make_session(), []

    def make(endpoint_url, read_seconds=30):
        settings = BucketSettings(
            name="any",
            endpoint_url=endpoint_url,
            region=s3_server.region,
            access_key_id=s3_server.access_key_id,
            secret_access_key=s3_server.secret_access_key,
        )
        clients.append(make_client(session, settings, "VFEXPORT_BUCKETS__EXPORTS__", read_seconds=read_seconds))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def direct_client(s3_server, make_s3_client):
    return make_s3_client(s3_server.endpoint_url)


@pytest.fixture(scope="session")
def shared_proxy(s3_server):
    with S3Proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(scope="session", params=["endpoint", "aws"])
def proxy_client(request, shared_proxy, make_s3_client):
    """Return a client that reaches the proxy: at its address, or as if it were AWS."""
    if request.param == "endpoint":
        return make_s3_client(shared_proxy.url)
    require_embedded_s3("requests for AWS's hosts are sent on to an address that they were not signed for")
    client = make_s3_client(None)
    client.meta.events.register("before-send.s3", partial(_resolve, shared_proxy.url))
    return client


def _resolve(url, request, **_):
    resolve_to(url, request)


@pytest.fixture
def store(direct_client):
    bucket = unique("delivery")
    direct_client.create_bucket(Bucket=bucket)
    return Store(direct_client, bucket)


@pytest.fixture
def proxy(shared_proxy):
    shared_proxy.reset()
    yield shared_proxy
    shared_proxy.reset()


@pytest.fixture
def target(proxy, proxy_client, store):
    return S3Bucket(store.bucket, proxy_client, RetryPolicy(attempts=ATTEMPTS, base_seconds=0.001))


@pytest.fixture
def make_writer(target):
    def make(key=KEY, staging_key=STAGING_KEY, acl="private", target=target, limits=None):
        limits = limits or small_limits()
        new = NewObject(
            key=key,
            staging_key=staging_key,
            acl=acl,
            content_type="text/csv; charset=utf-8",
            content_disposition=DISPOSITION,
            metadata=METADATA,
        )
        return S3Store(target, target, limits).begin(new)

    return make
