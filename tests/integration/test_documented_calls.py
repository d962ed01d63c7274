"""docs/operations.md lists what the service asks of MongoDB and S3, with read preference and concerns: all of it.

A service does all it can once, through clients that note what they send; the lists must be just that.
"""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pymongo
import pytest
from pymongo.monitoring import CommandListener

from tests.api_client import running_api
from tests.api_tokens import AUDIENCE, EC_KEY, ISSUER, public_pem
from tests.ccpa import USER_ID, Service
from tests.cli_helpers import Cli
from tests.integration.queue_helpers import ERROR
from tests.reaping import reap
from tests.s3_proxy import S3Proxy
from tests.unit.docs_helpers import OPERATIONS, table
from vfexport_core.catalog import all_specs
from vfexport_core.embedded.environment import s3_client
from vfexport_core.mongo.client import opened
from vfexport_core.queue.statistics.counters import ExportCounters
from vfexport_core.services.hanging_buckets import probe_due
from vfexport_core.settings import load_settings
from vfexport_core.storage.buckets import BucketClients
from vfexport_core.storage.object_store import NewObject
from vfexport_core.storage.s3.multipart import MIN_PART_BYTES
from vfexport_core.storage.s3.s3_store import S3Store
from vfexport_core.storage.s3.writer import Limits, S3Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.embedded import S3Server
    from vfexport_core.settings import Settings

DATE_KEY = "1700000000000"
NOBODY = {"VFEXPORT_WEBHOOKS__NOBODY__URL": "https://nobody.invalid/", "VFEXPORT_WEBHOOKS__NOBODY__FORMAT": "slack"}
# What belongs to no collection, and the driver's own.
DATABASE = "the database"
SILENT = {"endSessions", "killCursors", "getMore"}
# Files of more than 256 MiB are copied in parts.
TOO_LARGE_FOR_A_TEST = {"UploadPartCopy"}
AS_SET = "secondaryPreferred"


class Sent(CommandListener):
    """Notes, by collection and command, with which read preference, read concern and write concern they were sent."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.found: dict[tuple[str, str], set[tuple[str, str, str]]] = defaultdict(set)

    def started(self, event: Any) -> None:
        if event.command_name in SILENT:
            return
        value = event.command[event.command_name]
        collection = value if isinstance(value, str) and event.database_name == self.database else DATABASE
        self.found[collection, event.command_name].add(_ways(event.command))

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


def _ways(command: Any) -> tuple[str, str, str]:
    # To a single server the driver sends primaryPreferred for primary: what is there is to be read.
    mode = command.get("$readPreference", {}).get("mode", "primary")
    reads = {"primaryPreferred": "primary", AS_SET: "as set"}.get(mode, mode)
    writes = command.get("writeConcern", {}).get("w", "")
    return reads, command.get("readConcern", {}).get("level", ""), str(writes)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, database: Database[dict[str, Any]]) -> Sent:
    """Have every client that the service makes note what it sends."""
    listener = Sent(database.name)
    monkeypatch.setattr(pymongo, "MongoClient", partial(pymongo.MongoClient, event_listeners=[listener]))
    return listener


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def cli(settings_environment: dict[str, str], s3_server: S3Server, proxy: S3Proxy, tmp_path: Path) -> Cli:
    environment = {
        name: proxy.url if value == s3_server.endpoint_url else value for name, value in settings_environment.items()
    }
    keys = {"PUBLIC_KEY": public_pem(EC_KEY), "ISSUER": ISSUER, "AUDIENCE": AUDIENCE}
    # A direct connection reads from whatever member is there.
    environment["VFEXPORT_MONGO_URI"] = environment["VFEXPORT_MONGO_URI"].replace("directConnection=true", "")
    environment |= {f"VFEXPORT_JWT_{name}": value for name, value in keys.items()}
    return Cli(environment | {"VFEXPORT_SCAN_READ_PREFERENCE": AS_SET}, tmp_path)


@pytest.fixture
def own_settings(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in cli.environment.items():
        monkeypatch.setenv(name, value)
    return load_settings(env_file=None)


def do_everything(cli: Cli, settings: Settings, database: Database[dict[str, Any]]) -> None:
    """Use every way into the service once."""
    with BucketClients(settings) as buckets, opened(settings) as own:
        assert cli.run("init", "--check-sources").exit_code == 0
        assert cli.run("notifications", "send", **NOBODY).exit_code == 0
        service = Service(settings, own, buckets)
        campaign = Service(settings, database, buckets).add_full_campaign()
        for spec in all_specs():
            date_key = ["--date-key", DATE_KEY] if spec.needs_date_key else []
            result = cli.run("export", campaign, spec.type, *date_key)
            assert result.exit_code == 0, result.stderr
        exports = [service.request(campaign, name) for name in ("entries", "fanlist")]
        assert cli.run("exports", "cancel", exports[0].id).exit_code == 0
        assert cli.run("exports", "retry", exports[0].id).exit_code == 0
        assert cli.run("exports", "list").exit_code == 0
        assert cli.run("exports", "show", exports[0].id).exit_code == 0
        assert cli.run("queue", "pause").exit_code == 0
        assert cli.run("queue", "resume").exit_code == 0
        assert cli.run("audit").exit_code == 0
        assert cli.run("notifications", "send", **NOBODY).exit_code == 1, "nobody takes them"
        assert cli.run("notifications", "list", "--status", "pending").exit_code == 0
        assert cli.run("reconcile").exit_code in {0, 1}
        lose_an_attempt(service, exports[1].id)
        ExportCounters(own, lag_seconds=-1).read()
        hang_and_answer_again(service, database)
        write_in_parts(buckets)
        assert cli.run("doctor").exit_code in {0, 1}
        use_the_api(settings, campaign)
        assert cli.run("ccpa", "delete", USER_ID).exit_code == 0
        service.resume()


def lose_an_attempt(service: Service, export_id: str) -> None:
    claim, _ = service.store.claim(export_id, "run-lost")
    target = service.buckets.bucket("exportsS3")
    target.call("put_object", {"Key": "lost.csv", "Body": b"x", "Metadata": {"export-id": export_id}})
    service.store.claimed(claim).note_keys(target.name, ["lost.csv"])  # it names no export: so it is looked whose it is
    service.store.claimed(claim).fail(ERROR)
    assert reap(service.store, lambda: service.buckets, 60_000).cleaned == (export_id,)


def hang_and_answer_again(service: Service, database: Database[dict[str, Any]]) -> None:
    breakers = service.store.breakers
    breakers.trip("sfmcS3")
    database["bucketBreakers"].update_one({}, {"$set": {"probeDue": datetime(2020, 1, 1, tzinfo=UTC)}})
    assert len([*probe_due(breakers, lambda: service.buckets)]) == 1
    breakers.close("sfmcS3")


def write_in_parts(buckets: BucketClients) -> None:
    with large_writer(buckets, "large") as writer:
        writer.write(bytes(MIN_PART_BYTES + 1))
        writer.publish({}, lambda: None)
    with large_writer(buckets, "given-up") as writer:  # left without publishing
        writer.write(bytes(2 * MIN_PART_BYTES + 1))


def large_writer(buckets: BucketClients, name: str) -> S3Writer:
    bucket = buckets.bucket("exportsS3")
    store = S3Store(bucket, bucket, Limits(part_bytes=MIN_PART_BYTES))
    return store.begin(NewObject(key=f"c/entries/{name}.csv", staging_key=f"_staging/{name}/1"))


def use_the_api(settings: Settings, campaign: str) -> None:
    with running_api(settings) as api:
        token, path = api.token(campaign), f"/campaigns/{campaign}/exports"
        made = api.post(path, token=token, json={"exportType": "artistOptIn"}).json()
        for read in (f"{path}/{made['id']}", path, f"{path}?exportType=entries&limit=1"):
            assert api.get(read, token=token).status_code == 200
        assert api.post(path, token=token, json={"exportType": "codeWaves"}).status_code == 400  # names the waves
        assert api.post(f"{path}/{made['id']}/cancel", token=token).status_code == 202
        assert api.post(f"{path}/{made['id']}/retry", token=token).status_code == 202
        for read in ("/ready", "/metrics"):
            assert api.get(read).status_code == 200
        (finished, *_) = api.get(f"{path}?exportType=entries&status=FINISHED", token=token).json()
        assert httpx.get(finished["path"]).status_code == 200


@pytest.fixture
def done(
    cli: Cli,
    own_settings: Settings,
    database: Database[dict[str, Any]],
    sent: Sent,
    proxy: S3Proxy,
    *,
    s3_server: S3Server,
) -> tuple[Sent, S3Proxy]:
    assert own_settings.buckets.sfmc is not None
    with closing(s3_client(s3_server)) as client:  # lifecycle rules matter where there are versions
        versioning = {"Status": "Enabled"}
        client.put_bucket_versioning(Bucket=own_settings.buckets.sfmc.name, VersioningConfiguration=versioning)
    do_everything(cli, own_settings, database)
    return sent, proxy


def documented_commands() -> dict[tuple[str, str], tuple[str, str, str]]:
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    for collections, commands, *ways in table(OPERATIONS, "asked of"):
        for collection in collections.replace("`", "").split(", "):
            for command in re.findall(r"`(\w+)`", commands):
                reads, read_concern, write_concern = (way.strip("`") for way in ways)
                found[collection, command] = (reads, read_concern, write_concern)
    return found


def test_every_command_and_call_is_documented_as_it_is_sent(done: tuple[Sent, S3Proxy]) -> None:
    sent, proxy = done
    documented = documented_commands()
    assert dict(sent.found) == {key: {ways} for key, ways in documented.items()}
    calls = {call for cells in table(OPERATIONS, "call") for call in re.findall(r"`(\w+)`", cells[0])}
    assert {request.operation for request in proxy.seen()} == calls - TOO_LARGE_FOR_A_TEST
