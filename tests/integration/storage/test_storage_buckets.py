from __future__ import annotations

import http.client
import socket
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.integration.storage.conftest import DISPOSITION, KEY
from tests.s3_faults import Answer
from tests.servers import require_embedded_s3
from vfexport_core.errors import ConfigurationError, DeliveryFailed, DeliveryRefused
from vfexport_core.settings import load_settings
from vfexport_core.storage.buckets import BucketClients
from vfexport_core.storage.object_keys import download_name
from vfexport_core.storage.object_store import NewObject
from vfexport_core.storage.s3.multipart import MIN_PART_BYTES
from vfexport_core.storage.s3.s3_store import S3Store
from vfexport_core.storage.s3.writer import Limits

SECRET = "very-secret-key"


def settings_for(**buckets):
    return load_settings(env_file=None, mongo_uri="mongodb://unused", buckets=buckets)


@pytest.fixture
def own_settings(store, proxy, s3_server):
    """Make settings whose exports bucket is this test's, behind the proxy."""

    def make(**changes):
        bucket = {
            "name": store.bucket,
            "endpoint_url": proxy.url,
            "region": "us-east-1",
            "access_key_id": s3_server.access_key_id,
            # An embedded server takes any, so that one can be looked for; others take their own.
            "secret_access_key": SECRET if s3_server.pid else s3_server.secret_access_key,
        } | changes
        return settings_for(exports={name: value for name, value in bucket.items() if value is not None})

    return make


@pytest.fixture
def no_aws(monkeypatch, tmp_path):
    """Take away whatever the default chain could find."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    return monkeypatch


def download(url):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Disposition"), answer.getheader("Content-Type"), answer.read()
    finally:
        connection.close()


def test_clients_are_made_once_and_when_they_are_needed(settings):
    with BucketClients(settings) as buckets:
        assert buckets._clients == {}
        one = buckets.bucket("exportsS3")
        assert one.name == settings.buckets.exports.name
        assert buckets.bucket("exportsS3").client is one.client
        assert buckets.bucket("scoringS3").client is not one.client
        names = [buckets.bucket(name).name for name in ("scoringS3", "vfScoringS3", "sfmcS3")]
    expected = [settings.buckets.scoring, settings.buckets.vf_scoring, settings.buckets.sfmc]
    assert names == [bucket.name for bucket in expected]


@pytest.mark.parametrize(
    ("bucket", "variable"),
    [("exportsS3", "VFEXPORT_BUCKETS__EXPORTS__NAME"), ("vfScoringS3", "VFEXPORT_BUCKETS__VF_SCORING__NAME")],
)
def test_a_bucket_that_is_not_configured_is_named(bucket, variable):
    buckets = BucketClients(settings_for())
    for use in (buckets.bucket, buckets.check, lambda name: buckets.sign_download(name, KEY, 60)):
        with pytest.raises(ConfigurationError, match=variable) as raised:
            use(bucket)
        assert raised.value.payload == variable
    with pytest.raises(ConfigurationError, match="nosuchS3"):
        buckets.bucket("nosuchS3")


@pytest.mark.parametrize(
    ("change", "variable"),
    [
        ({"access_key_id": None}, "ACCESS_KEY_ID"),
        ({"secret_access_key": None}, "SECRET_ACCESS_KEY"),
        ({"endpoint_url": "no address"}, "ENDPOINT_URL"),
    ],
)
def test_a_wrong_setting_is_named(own_settings, change, variable):
    with pytest.raises(ConfigurationError) as raised:
        BucketClients(own_settings(**change)).bucket("exportsS3")
    assert raised.value.payload == f"VFEXPORT_BUCKETS__EXPORTS__{variable}"
    assert SECRET not in str(raised.value)


def test_a_bucket_that_answers_passes_the_check(own_settings, proxy):
    with BucketClients(own_settings()) as buckets:
        buckets.check("exportsS3")
    assert [seen.operation for seen in proxy.seen()] == ["HeadBucket"]


def test_a_bucket_that_is_not_there_fails_the_check(own_settings):
    with (
        BucketClients(own_settings(name="no-such-bucket")) as buckets,
        pytest.raises(DeliveryRefused, match="S3 bucket no-such-bucket: HeadBucket failed: 404"),
    ):
        buckets.check("exportsS3")


def test_a_server_that_is_not_there_fails_the_check_without_retries(own_settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with (
        BucketClients(own_settings(endpoint_url=f"http://{address[0]}:{address[1]}")) as buckets,
        pytest.raises(DeliveryFailed, match="HeadBucket failed: EndpointConnectionError"),
    ):
        buckets.check("exportsS3")


def test_closed_clients_are_made_anew(own_settings, store):
    buckets = BucketClients(own_settings())
    first = buckets.bucket("exportsS3")
    buckets.close()
    second = buckets.bucket("exportsS3")
    assert second.client is not first.client
    second.call("put_object", {"Key": "k", "Body": b"x"})
    buckets.close()
    assert store.objects() == ["k"]


def test_a_signed_url_downloads_under_the_name_kept_with_the_object(own_settings, store, make_writer):
    with make_writer() as writer:
        writer.write(b"id\n1\n")
        writer.publish({}, lambda: None)
    with BucketClients(own_settings()) as buckets:
        url = buckets.sign_download("exportsS3", KEY, 120)
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["120"]
    assert SECRET not in unquote(url)
    assert download(url) == (200, DISPOSITION, "text/csv; charset=utf-8", b"id\n1\n")


def test_a_signed_url_can_say_another_name(own_settings, store):
    store.put(KEY, b"x")
    name = download_name('Beyoncé "日本" 50%/\r\nx', "entries", "csv", datetime(2026, 1, 31, tzinfo=UTC))
    with BucketClients(own_settings()) as buckets:
        status, disposition, _, body = download(buckets.sign_download("exportsS3", KEY, 60, name))
    assert (status, body) == (200, b"x")
    assert disposition.isascii()
    assert unquote(disposition.partition("filename*=UTF-8''")[2]) == 'Beyoncé "日本" 50%- x - entries - 2026-01-31.csv'


def test_signing_for_aws_names_the_region_and_the_bucket_s_host(no_aws):
    settings = settings_for(
        exports={"name": "fan-files", "region": "eu-west-1", "access_key_id": "AKIDX", "secret_access_key": SECRET}
    )
    with BucketClients(settings) as buckets:
        url = urlsplit(buckets.sign_download("exportsS3", KEY, 60))
    assert url.scheme == "https"
    assert url.hostname == "fan-files.s3.eu-west-1.amazonaws.com"
    query = parse_qs(url.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert "/eu-west-1/s3/" in query["X-Amz-Credential"][0]


def test_a_bucket_name_with_dots_is_not_a_host_name(no_aws):
    settings = settings_for(exports={"name": "fan.files", "access_key_id": "AKIDX", "secret_access_key": SECRET})
    with BucketClients(settings) as buckets:
        url = urlsplit(buckets.sign_download("exportsS3", KEY, 60))
    assert (url.scheme, url.path) == ("https", f"/fan.files/{KEY}")


def test_without_a_key_pair_the_default_chain_is_used(own_settings, proxy, no_aws):
    require_embedded_s3("its credentials are made up")
    no_aws.setenv("AWS_ACCESS_KEY_ID", "FROMCHAIN")
    no_aws.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with BucketClients(own_settings(access_key_id=None, secret_access_key=None)) as buckets:
        buckets.check("exportsS3")
    assert "Credential=FROMCHAIN/" in proxy.seen()[0].headers["authorization"]


def test_without_any_credentials_the_delivery_is_refused(own_settings, no_aws):
    with BucketClients(own_settings(access_key_id=None, secret_access_key=None)) as buckets:
        for use in (buckets.check, lambda name: buckets.sign_download(name, KEY, 60)):
            with pytest.raises(DeliveryRefused, match="NoCredentialsError"):
                use("exportsS3")


def test_a_role_is_assumed_with_the_key_pair(own_settings, proxy, s3_server, monkeypatch):
    require_embedded_s3("its credentials are made up")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", s3_server.endpoint_url)
    with BucketClients(own_settings(role_arn="arn:aws:iam::123456789012:role/exporter")) as buckets:
        buckets.check("exportsS3")
        buckets.check("exportsS3")
    first, second = proxy.seen()
    assert first.headers["x-amz-security-token"]
    assert first.headers["x-amz-security-token"] == second.headers["x-amz-security-token"]
    assert "Credential=test/" not in first.headers["authorization"]


def test_a_role_of_another_account_is_assumed_with_its_external_id(own_settings, monkeypatch):
    settings = own_settings(role_arn="arn:aws:iam::123456789012:role/exporter", external_id="partner-7")
    asked = []

    def send(_, request):
        asked.append(request.body)
        raise EndpointConnectionError(endpoint_url=request.url)

    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", send)
    with BucketClients(settings) as buckets, pytest.raises(DeliveryFailed):
        buckets.check("exportsS3")
    assert asked
    assert all("ExternalId=partner-7" in str(body) for body in asked)


@pytest.mark.parametrize("bucket_key", [None, True, False])
@pytest.mark.parametrize("size", [10, MIN_PART_BYTES + 1])
def test_files_are_encrypted_with_the_key_that_is_set(own_settings, proxy, size, bucket_key):
    """Every request that begins an object says so; none other does."""
    settings = own_settings(sse_kms_key_id="alias/exports", bucket_key=bucket_key)
    with BucketClients(settings) as buckets:
        store = S3Store(bucket := buckets.bucket("exportsS3"), bucket, Limits(part_bytes=MIN_PART_BYTES))
        with store.begin(NewObject(key=KEY, staging_key="_staging/x/1")) as writer:
            writer.write(bytes(size))
            writer.publish({}, lambda: None)
    said = {
        seen.operation: (
            seen.headers.get("x-amz-server-side-encryption"),
            seen.headers.get("x-amz-server-side-encryption-aws-kms-key-id"),
            seen.headers.get("x-amz-server-side-encryption-bucket-key-enabled"),
        )
        for seen in proxy.seen()
    }
    beginning = {"PutObject", "CreateMultipartUpload", "CopyObject"}
    wanted = ("aws:kms", "alias/exports", None if bucket_key is None else str(bucket_key).lower())
    assert {ways for operation, ways in said.items() if operation in beginning} == {wanted}
    assert {ways for operation, ways in said.items() if operation not in beginning} <= {(None, None, None)}


@pytest.mark.parametrize(
    ("change", "named"), [({"external_id": "x"}, "ROLE_ARN"), ({"bucket_key": True}, "SSE_KMS_KEY_ID")]
)
def test_what_has_no_meaning_alone_is_refused(own_settings, change, named):
    with pytest.raises(ConfigurationError, match=f"VFEXPORT_BUCKETS__EXPORTS: .* has no meaning without {named}"):
        own_settings(**change)


def test_a_role_that_cannot_be_assumed_fails_the_delivery(own_settings, proxy, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", proxy.url)
    refusal = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
    proxy.fail("POST other", Answer(403, body=refusal))
    with (
        BucketClients(own_settings(role_arn="arn:aws:iam::123456789012:role/exporter")) as buckets,
        pytest.raises(DeliveryRefused, match="AssumeRole failed: AccessDenied"),
    ):
        buckets.check("exportsS3")


def test_a_role_without_credentials_to_assume_it_is_named(own_settings, no_aws):
    settings = own_settings(access_key_id=None, secret_access_key=None, role_arn="arn:aws:iam::123456789012:role/x")
    with pytest.raises(ConfigurationError, match="VFEXPORT_BUCKETS__EXPORTS__ROLE_ARN"):
        BucketClients(settings).bucket("exportsS3")
