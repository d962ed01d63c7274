"""What the tests of the Dagster side share: the embedded servers in the environment, a campaign, jobs in process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest
from alembic.script import ScriptDirectory
from botocore.config import Config

from tests.integration.queue_helpers import new_export
from tests.pipeline import bundle_of, expected
from tests.s3_proxy import S3Proxy
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise
from vfexport_dagster import tags
from vfexport_dagster.definitions import defs
from vfexport_dagster.startup import shortcuts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import S3Server
    from vfexport_core.queue.models import Export
    from vfexport_core.settings import Settings

ENTRIES = 60
"""Of a campaign: each of its exports has as many rows, or fewer."""

READ_ANEW = ScriptDirectory.from_config


@pytest.fixture(scope="session", autouse=True)
def _migrations_read_once() -> None:
    """Most tests have a storage of Dagster's made, which would load ninety migrations: most of what that takes."""
    shortcuts.read_migrations_once()


@pytest.fixture
def environment(settings_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Point this process, where jobs and sensors run, at the embedded servers."""
    for name, value in settings_environment.items():
        monkeypatch.setenv(name, value)
    return settings_environment


@pytest.fixture
def store(environment: dict[str, str], database: Database[dict[str, Any]]) -> ExportRepository:
    store = ExportRepository(database)
    initialise(database)
    return store


@pytest.fixture
def campaign_id(store: ExportRepository, database: Database[dict[str, Any]]) -> str:
    return seed_campaign(database, entries=ENTRIES)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@dataclass(frozen=True)
class Runner:
    """Runs jobs in this process, on an instance that keeps what they tell."""

    instance: dg.DagsterInstance

    def run(self, job: str, config: dict[str, Any], **run_tags: str) -> dg.ExecuteInProcessResult:
        definition = defs.resolve_job_def(job)
        return definition.execute_in_process(
            run_config=config, instance=self.instance, tags=run_tags, raise_on_error=False
        )

    def run_requested(self, export: Export) -> dg.ExecuteInProcessResult:
        """Run as the pending sensor asks for it."""
        job = f"{export.export_type}_export"
        return self.run(job, {"export_id": export.id}, **tags.requested_tags(export, 60))

    def log(self, result: dg.ExecuteInProcessResult) -> list[str]:
        """Return the lines that a run told (not those that Dagster adds)."""
        return [
            entry.user_message
            for entry in self.instance.all_logs(result.run_id)
            if entry.dagster_event is None and entry.level >= 20
        ]

    def failure(self, result: dg.ExecuteInProcessResult) -> str:
        """Return all that the log says of the failed step."""
        (event,) = [event for event in result.all_events if event.is_step_failure]
        data = event.step_failure_data
        return f"{data.error.to_string()}\n{data.user_failure_data}"


@pytest.fixture
def runner(instance: dg.DagsterInstance, environment: dict[str, str]) -> Runner:
    return Runner(instance)


class Buckets:
    """The test's buckets, looked at directly."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.buckets
        exports = settings.buckets.exports
        assert exports is not None
        assert exports.secret_access_key is not None
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=exports.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=exports.access_key_id,
            aws_secret_access_key=exports.secret_access_key.get_secret_value(),
            config=Config(s3={"addressing_style": "path"}),
        )

    def read(self, bucket: str, key: str) -> bytes:
        with self.client.get_object(Bucket=bucket, Key=key)["Body"] as body:
            return body.read()

    def everything(self) -> list[str]:
        """Return all that is in the buckets: objects and unfinished uploads."""
        names = [getattr(self.settings, field).name for field in ("exports", "scoring", "vf_scoring", "sfmc")]
        found: list[str] = []
        for name in names:
            found += [item["Key"] for item in self.client.list_objects_v2(Bucket=name).get("Contents", [])]
            found += [item["Key"] for item in self.client.list_multipart_uploads(Bucket=name).get("Uploads", [])]
        return found


@pytest.fixture
def buckets(settings: Settings) -> Iterator[Buckets]:
    buckets = Buckets(settings)
    yield buckets
    buckets.client.close()


def reference_bytes(database: Database[dict[str, Any]], campaign_id: str, export_type: str) -> bytes:
    """Return the file that the independent reference makes of the campaign as it is in the database."""
    (data,) = expected(bundle_of(database, campaign_id), export_type).files.values()
    return data


@pytest.fixture
def export(store: ExportRepository, campaign_id: str) -> Export:
    return store.request(new_export(campaign_id=campaign_id, correlation_id="corr-7"))[0]


@pytest.fixture
def s3_proxy(s3_server: S3Server, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.endpoint_url) as proxy:
        for name in environment:
            if name.endswith("__ENDPOINT_URL"):
                monkeypatch.setenv(name, proxy.url)
        yield proxy
