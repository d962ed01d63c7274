"""`vfexport export` in the queue: its turn, its end, others' exports, signals."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli_helpers import Cli, error_of, load
from tests.integration.queue_helpers import DELIVERED, new_export, queued, triggered
from tests.s3_faults import Answer
from tests.s3_proxy import S3Proxy
from vfexport_core.errors import ExportExpired
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import initialise
from vfexport_core.services.run_attempt import run_claimed
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.embedded import S3Server
    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

QUICK = {"VFEXPORT_POLLING_INTERVAL_MILLIS": "50"}


@pytest.fixture
def cli(settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)  # no .env of a developer is read
    return Cli(settings_environment | QUICK, tmp_path)


@pytest.fixture
def store(database: Documents) -> ExportRepository:
    store = ExportRepository(database)
    initialise(database)
    return store


@pytest.fixture
def campaign(database: Documents) -> str:
    return load(database, 50)


@pytest.fixture
def proxy(s3_server: S3Server, cli: Cli) -> Iterator[S3Proxy]:
    """Stand between the command and S3."""
    with S3Proxy(s3_server.endpoint_url) as proxy:
        for name, value in cli.environment.items():
            if value == s3_server.endpoint_url:
                cli.environment[name] = proxy.url
        yield proxy


def only_export(store: ExportRepository) -> Any:
    (export,) = store.list()
    return export


def test_an_export_goes_through_the_queue(cli: Cli, store: ExportRepository, campaign: str) -> None:
    result = cli.run("export", campaign, "scoring", "--json")
    assert result.exit_code == 0, result.stderr
    summary, export = json.loads(result.stdout), only_export(store)
    assert export.status is ExportStatus.FINISHED
    assert export.source == "cli"
    assert export.requester_user_id.startswith("cli:")
    assert export.run_id.startswith("cli-")
    assert export.progress.rows == export.count == summary["rows"] == 50
    assert summary["exportId"] == export.id
    assert (summary["key"],) == export.keys
    assert summary["bucket"].startswith("vfexport-scoring")


def test_people_see_where_the_file_is(cli: Cli, store: ExportRepository, campaign: str) -> None:
    result = cli.run("export", campaign, "entries")
    assert result.exit_code == 0
    export = only_export(store)
    words = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert (words["export"], words["key"]) == (export.id, export.keys[0])
    assert words["SHA-256"] == export.sha256[export.keys[0]]
    assert words["rows"] == "50"


def test_a_failing_bucket_fails_the_export(cli: Cli, store: ExportRepository, campaign: str, proxy: S3Proxy) -> None:
    proxy.fail("PutObject", Answer(403, "AccessDenied"))
    result = cli.run("export", campaign, "entries", "--json")
    export = only_export(store)
    assert export.status is ExportStatus.FAILED
    assert error_of(result.stderr)["code"] == export.error["code"]
    assert (result.exit_code, result.stdout) == (1, "")


def test_s3_that_does_not_answer_is_a_passing_fault(
    cli: Cli, store: ExportRepository, campaign: str, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfexport_core.storage.s3.bucket.RetryPolicy.wait_seconds", lambda *_: 0.0)
    proxy.fail("PutObject", Answer(503, "SlowDown"))
    result = cli.run("export", campaign, "entries")
    assert result.exit_code == 3
    last, line = result.stderr.splitlines()[-2:]
    assert line.startswith("DeliveryFailed: ")
    assert last == f"export {only_export(store).id} is FAILED"


def test_a_passing_fault_is_tried_again_by_the_command_itself(
    cli: Cli, store: ExportRepository, campaign: str, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfexport_core.storage.s3.bucket.RetryPolicy.wait_seconds", lambda *_: 0.0)
    proxy.fail("PutObject", Answer(503, "SlowDown"), times=6)
    retries = {"VFEXPORT_AUTO_RETRIES": "1", "VFEXPORT_AUTO_RETRY_SECONDS": "0.1"}
    result = cli.run("export", campaign, "entries", **retries)
    assert result.exit_code == 0, result.stderr
    assert "attempt 1 failed, another one follows: DeliveryFailed" in result.stderr
    assert [attempt.status for attempt in only_export(store).attempts] == ["FAILED", "FINISHED"]


def test_a_missing_bucket_is_refused_before_anything_is_queued(
    cli: Cli, store: ExportRepository, campaign: str
) -> None:
    del cli.environment["VFEXPORT_BUCKETS__SCORING__NAME"]
    for name in [name for name in cli.environment if name.startswith("VFEXPORT_BUCKETS__SCORING__")]:
        del cli.environment[name]
    result = cli.run("export", campaign, "scoring", "--json")
    assert error_of(result.stderr)["payload"] == "VFEXPORT_BUCKETS__SCORING__NAME"
    assert store.list() == []


def test_older_requests_come_first(cli: Cli, store: ExportRepository, campaign: str) -> None:
    older = queued(store)
    with cli.process("export", campaign, "entries") as command:
        command.wait_for("1 exports were asked for before this one")
        claim, _ = store.claim(older.id, "run-1")
        command.wait_for(f"export {older.id} is TRIGGERED")
        first = store.claimed(claim).finish(DELIVERED)
        assert command.end() == 0
    second = store.list(campaign_id=campaign)[0]
    assert second.date.triggered >= first.date.finished


def test_what_others_run_is_followed_to_its_end(cli: Cli, store: ExportRepository, campaign: str) -> None:
    claim = triggered(store, campaign_id=campaign)
    store.claimed(claim).set_count(40)
    with cli.process("export", campaign, "entries") as command:
        command.wait_for("following it")
        store.claimed(claim).progress(20, 20, 100)
        store.claimed(claim).finish(replace(DELIVERED, bucket="exportsS3"))
        assert command.end() == 0
    words = dict(line.split(maxsplit=1) for line in command.stdout.splitlines())
    assert (words["export"], words["key"]) == (claim.export_id, DELIVERED.keys[0])
    assert words["bucket"] == cli.environment["VFEXPORT_BUCKETS__EXPORTS__NAME"]
    assert words["rows"] == str(DELIVERED.rows)


def test_what_others_run_may_fail(cli: Cli, store: ExportRepository, campaign: str) -> None:
    claim = triggered(store, campaign_id=campaign)
    with cli.process("export", campaign, "entries") as command:
        command.wait_for("following it")
        store.claimed(claim).fail({"code": "SourceUnavailable", "message": "MongoDB failed", "payload": "entries"})
        assert command.end() == 3
    assert command.stderr.splitlines()[-1].startswith("SourceUnavailable: MongoDB failed (entries). ")


def test_what_others_asked_for_is_run_when_nobody_else_does(cli: Cli, store: ExportRepository, campaign: str) -> None:
    asked = queued(store, campaign_id=campaign)
    result = cli.run("export", campaign, "entries", "--json")
    assert json.loads(result.stdout)["exportId"] == asked.id
    assert only_export(store).requester_user_id == asked.requester_user_id


def test_ctrl_c_cancels_what_runs_here_and_leaves_nothing(
    cli: Cli, store: ExportRepository, campaign: str, proxy: S3Proxy
) -> None:
    gate = proxy.hold("PutObject")
    with cli.process("export", campaign, "entries") as command:
        command.wait_for("running")
        proxy.wait_for("PutObject")
        command.child.send_signal(signal.SIGINT)
        gate.set()
        assert command.end() == 130
    export = only_export(store)
    assert export.status is ExportStatus.CANCELED
    assert command.stderr.splitlines()[-1] == f"export {export.id} is CANCELED"
    assert "Traceback" not in command.stderr
    with BucketClients(_settings(cli)) as buckets:
        target = buckets.bucket("exportsS3")
        assert "Contents" not in target.client.list_objects_v2(Bucket=target.name)
        assert "Uploads" not in target.client.list_multipart_uploads(Bucket=target.name)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_what_waits(
    cli: Cli, store: ExportRepository, campaign: str, number: int, status: int
) -> None:
    other = triggered(store)
    with cli.process("export", campaign, "entries") as command:
        command.wait_for("waiting: ")
        command.child.send_signal(number)
        assert command.end() == status
    assert store.list(campaign_id=campaign)[0].status is ExportStatus.CANCELED
    assert store.get(other.export_id).status is ExportStatus.TRIGGERED


def test_ctrl_c_leaves_alone_what_others_asked_for(cli: Cli, store: ExportRepository, campaign: str) -> None:
    triggered(store)
    asked = queued(store, campaign_id=campaign)
    with cli.process("export", campaign, "entries") as command:
        command.wait_for("waiting: ")
        command.child.send_signal(signal.SIGINT)
        assert command.end() == 130
    assert store.get(asked.id).status is ExportStatus.PENDING


def test_an_export_that_takes_too_long_expires(settings: Settings, database: Documents, campaign: str) -> None:
    store = ExportRepository(database)
    initialise(database)
    created, _ = store.request(new_export(campaign_id=campaign))
    claim, export = store.claim(created.id, "cli-1")
    with BucketClients(settings) as buckets:
        hurried = settings.model_copy(update={"timeout_millis": -1})
        backend = Backend(hurried, database=database, queue=store, buckets=buckets)
        with pytest.raises(ExportExpired):
            run_claimed(claim, export, backend, on_count=print, on_progress=print)
    ended = store.get(export.id)
    assert (ended.status, ended.error["code"]) == (ExportStatus.EXPIRED, "ExportExpired")


def _settings(cli: Cli) -> Settings:
    from vfexport_core.settings import load_settings

    with pytest.MonkeyPatch.context() as patch:
        for name, value in cli.environment.items():
            patch.setenv(name, value)
        return load_settings(env_file=None)
