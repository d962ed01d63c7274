"""Workers as processes that are killed, stopped, hung or cancelled: nothing is published late, the queue goes on."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.api_client import wait_for
from tests.cli_helpers import Cli, load
from tests.integration.queue_helpers import queued, triggered
from tests.proxy import Proxy
from tests.reaping import Reaped, reap
from tests.s3_proxy import S3Proxy
from tests.servers import through
from vfexport_core.catalog import Bucket
from vfexport_core.errors import ExportExpired, LeaseLost
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import initialise
from vfexport_core.services.run_attempt import STUCK, Worker
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer, S3Server
    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

TIMEOUT = 600_000
QUICK = {"VFEXPORT_POLLING_INTERVAL_MILLIS": "50", "VFEXPORT_LEASE_SECONDS": "1"}


@pytest.fixture
def cli(settings_environment: dict[str, str], tmp_path: Path) -> Cli:
    return Cli(settings_environment | QUICK, tmp_path)


@pytest.fixture
def store(database: Documents) -> ExportRepository:
    store = ExportRepository(database, lease_seconds=1)
    initialise(database)
    return store


@pytest.fixture
def campaign(database: Documents) -> str:
    return load(database, 50)


@pytest.fixture
def buckets(settings: Settings) -> Iterator[BucketClients]:
    with BucketClients(settings) as buckets:
        yield buckets


@pytest.fixture
def proxy(s3_server: S3Server, cli: Cli) -> Iterator[S3Proxy]:
    """Stand between the worker and S3."""
    with S3Proxy(s3_server.endpoint_url) as proxy:
        for name, value in cli.environment.items():
            if value == s3_server.endpoint_url:
                cli.environment[name] = proxy.url
        yield proxy


def everything(buckets: BucketClients) -> list[str]:
    """All that is in the buckets: objects and unfinished uploads."""
    found: list[str] = []
    for bucket in Bucket:
        target = buckets.bucket(bucket)
        found += [item["Key"] for item in target.call("list_objects_v2", {}).get("Contents", [])]
        found += [item["Key"] for item in target.call("list_multipart_uploads", {}).get("Uploads", [])]
    return found


def released(store: ExportRepository, buckets: BucketClients) -> Reaped:
    """Watch until the running export was ended."""
    return wait_for(lambda: (seen := reap(store, lambda: buckets, TIMEOUT)).ended and seen, 30)


def only_export(store: ExportRepository) -> Any:
    (export,) = store.list()
    return export


def test_a_killed_worker_loses_its_export_and_what_it_sent_too_late_is_deleted(
    cli: Cli, store: ExportRepository, campaign: str, proxy: S3Proxy, buckets: BucketClients
) -> None:
    gate = proxy.hold("PutObject", times=1)
    with cli.process("export", campaign, "entries") as command:
        proxy.wait_for("PutObject")
        command.child.kill()
        seen = released(store, buckets)
    assert seen.ended is not None
    assert (seen.ended.status, seen.ended.error["code"]) == (ExportStatus.FAILED, "WorkerLost")
    assert seen.cleaned == (seen.ended.id,)
    gate.set()  # the request is on its way although its sender is dead
    wait_for(lambda: everything(buckets), 30)
    reap(store, lambda: buckets, TIMEOUT, grace_seconds=0)
    assert everything(buckets) != [], "not before it is due"
    store._exports.documents.update_one({}, {"$set": {"cleanupDue": seen.ended.date.failed}})
    reap(store, lambda: buckets, TIMEOUT, grace_seconds=0)
    assert everything(buckets) == []
    assert only_export(store).attempts[0].cleaned
    store.retry(seen.ended.id)
    result = cli.run("export", campaign, "entries")
    assert result.exit_code == 0, "the next one runs"
    assert only_export(store).status is ExportStatus.FINISHED
    assert everything(buckets) == list(only_export(store).keys)


@pytest.mark.parametrize("export_type", ["entries", "autoReminderEmail"])
def test_a_worker_that_was_stopped_past_its_lease_publishes_nothing_when_it_goes_on(
    cli: Cli, store: ExportRepository, campaign: str, proxy: S3Proxy, *, buckets: BucketClients, export_type: str
) -> None:
    """One has sent its file when it is stopped, the other has only staged it."""
    gate = proxy.hold("PutObject")
    with cli.process("export", campaign, export_type) as command:
        proxy.wait_for("PutObject")
        command.child.send_signal(signal.SIGSTOP)
        seen = released(store, buckets).ended
        gate.set()
        command.child.send_signal(signal.SIGCONT)
        assert command.end() == 1
        assert "LeaseLost" in command.stderr
    assert seen is not None
    export = only_export(store)
    assert (export.status, export.error) == (ExportStatus.FAILED, seen.error)
    assert everything(buckets) == []


def test_a_worker_whose_read_hangs_is_ended_by_its_own_deadline(
    cli: Cli, store: ExportRepository, campaign: str, mongo_server: MongoServer, *, buckets: BucketClients
) -> None:
    def hang_at_the_scan(from_client: bool, block: bytes) -> None:
        if from_client and b"aggregate" in block and b"entries" in block:
            mongo.blackhole()

    with Proxy((mongo_server.host, mongo_server.port), on_block=hang_at_the_scan) as mongo:
        address = {"VFEXPORT_MONGO_URI": through(mongo_server, mongo)}
        with cli.process("export", campaign, "entries", VFEXPORT_TIMEOUT_MILLIS="2000", **address) as command:
            assert command.end() == STUCK
            assert mongo.mode == "blackhole"
    assert only_export(store).status is ExportStatus.TRIGGERED, "it could not say so itself"
    ended = reap(store, lambda: buckets, 2_000).ended
    assert ended is not None
    assert ended.status is ExportStatus.EXPIRED
    assert everything(buckets) == []


def test_a_worker_that_swallows_its_end_is_ended_with_its_process(
    settings: Settings, store: ExportRepository, campaign: str, database: Documents
) -> None:
    claim = triggered(store, campaign_id=campaign)
    ended = threading.Event()
    statuses: list[int] = []

    def end_process(status: int) -> None:
        statuses.append(status)
        ended.set()

    hurried = settings.model_copy(update={"timeout_millis": 300, "lease_seconds": 1})
    export = store.get(claim.export_id)
    with Worker(claim, export, Backend(hurried, database=database, queue=store), exit_process=end_process) as worker:
        assert ended.wait(120)
        assert statuses == [STUCK]
        with pytest.raises(ExportExpired):
            worker.count()
    export = store.get(claim.export_id)
    assert (export.status, export.error and export.error["code"]) == (ExportStatus.EXPIRED, "ExportExpired")


def test_a_worker_keeps_its_export_without_making_progress(
    settings: Settings, store: ExportRepository, campaign: str, database: Documents
) -> None:
    claim = triggered(store, campaign_id=campaign)
    first = store.get(claim.export_id).lease_until
    assert first is not None
    patient = settings.model_copy(update={"lease_seconds": 1})
    with Worker(claim, store.get(claim.export_id), Backend(patient, database=database, queue=store)):
        wait_for(lambda: (until := store.get(claim.export_id).lease_until) and (until - first).total_seconds() > 1.5)
        assert store.reaper.reap(TIMEOUT) is None
    wait_for(lambda: store.reaper.reap(TIMEOUT), 30)


def test_a_worker_that_lost_its_export_stops_at_its_next_step(
    settings: Settings, store: ExportRepository, campaign: str, database: Documents
) -> None:
    claim = triggered(store, campaign_id=campaign)
    patient = settings.model_copy(update={"lease_seconds": 600})
    with Worker(claim, store.get(claim.export_id), Backend(patient, database=database, queue=store)) as worker:
        store.close_run(claim.export_id, claim.run_id, ExportStatus.CANCELED, None)
        wait_for(lambda: worker._heartbeat.stop_reason)
        with pytest.raises(LeaseLost):
            worker.count()
        ended = worker.end(LeaseLost("lost"))
    assert ended == store.get(claim.export_id)
    assert ended.status is ExportStatus.CANCELED


def test_a_cancelled_export_is_ended_by_its_worker_before_anything_is_visible(
    cli: Cli, store: ExportRepository, campaign: str, proxy: S3Proxy, *, buckets: BucketClients
) -> None:
    gate = proxy.hold("PutObject")
    with cli.process("export", campaign, "autoReminderEmail", "--json") as command:
        proxy.wait_for("PutObject")
        asked = store.request_cancel(only_export(store).id)
        assert asked.status is ExportStatus.TRIGGERED
        gate.set()
        assert command.end() == 1
        assert "ExportCanceled" in command.stderr
    assert only_export(store).status is ExportStatus.CANCELED
    assert everything(buckets) == []


def test_whoever_waits_for_a_dead_run_frees_the_queue(cli: Cli, store: ExportRepository, campaign: str) -> None:
    dead = triggered(store)
    result = cli.run("export", campaign, "entries")
    assert result.exit_code == 0
    assert store.get(dead.export_id).status is ExportStatus.FAILED


def test_several_reapers_at_once_do_no_harm(
    store: ExportRepository, buckets: BucketClients, database: Documents, settings: Settings
) -> None:
    brief = ExportRepository(database, lease_seconds=0)
    claim = triggered(brief)
    target = buckets.bucket(Bucket.EXPORTS)
    target.call("put_object", {"Key": "left", "Body": b"x", "Metadata": {"export-id": claim.export_id}})
    brief.claimed(claim).note_keys(target.name, ["left"])
    waiting = queued(store)
    seen: list[Reaped] = []
    threads = [
        threading.Thread(target=lambda: seen.append(reap(store, lambda: buckets, TIMEOUT, grace_seconds=0)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen.append(reap(store, lambda: buckets, TIMEOUT, grace_seconds=0))
    assert [look.problems for look in seen] == [()] * 5
    assert len([look for look in seen if look.ended]) == 1
    assert everything(buckets) == []
    assert store.get(claim.export_id).attempts[0].cleaned
    assert store.claim(waiting.id, "run-2")


def test_a_bucket_that_cannot_be_cleaned_up_is_tried_again(store: ExportRepository, buckets: BucketClients) -> None:
    claim = triggered(store)
    store.claimed(claim).note_keys("another-bucket", ["left"])
    store.claimed(claim).expire()
    for _ in range(2):
        (problem,) = reap(store, lambda: buckets, TIMEOUT, grace_seconds=0).problems
        assert "another-bucket" in problem
    assert not store.get(claim.export_id).attempts[0].cleaned
