"""Many deletions of one user at the same time, by several processes: one does the work, and all answer alike."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from tests.api_client import wait_for
from tests.ccpa import DELETED_TYPES, Service, running_service
from tests.processes import forked
from tests.s3_faults import ACCESS_DENIED
from tests.s3_proxy import S3Proxy, through
from vfexport_core.errors import VfexportError
from vfexport_core.queue.models import ExportStatus
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

    from pymongo.database import Database

    from vfexport_core.embedded import S3Server
    from vfexport_core.settings import Settings

PROCESSES = 4
CALLS = 10
SECONDS = 60.0  # in which the one is done
FAILING_SECONDS = 15.0  # which all but those who try wait
Outcome = tuple[str, str | tuple[int, int]]


@contextmanager
def service_of(settings: Settings) -> Generator[Service]:
    uri = settings.mongo_uri.get_secret_value()
    with MongoClient[dict[str, Any]](uri, tz_aware=True) as client, BucketClients(settings) as buckets:
        yield Service(settings, client[settings.mongo_database], buckets)


def delete_at_once(settings: Settings, start: Barrier, outcomes: Queue[list[Outcome]], seconds: float) -> None:
    """Ask for the same deletion from several threads, all processes at the same moment; tell what came of each."""

    def delete(service: Service) -> Outcome:
        try:
            record = service.delete(seconds=seconds)
        except VfexportError as error:
            return error.code, str(error.payload)
        return record.id, (record.deleted_exports, record.deleted_files)

    with service_of(settings) as service, ThreadPoolExecutor(CALLS) as pool:
        service.store.list()  # connects
        start.wait()
        outcomes.put(list(pool.map(lambda _: delete(service), range(CALLS))))


def delete_from_everywhere(
    settings: Settings, database: Database[dict[str, Any]], seconds: float = SECONDS
) -> list[Outcome]:
    context = forked()
    start, outcomes = context.Barrier(PROCESSES), context.Queue()
    settings = settings.model_copy(update={"mongo_database": database.name})
    processes = [
        context.Process(target=delete_at_once, args=(settings, start, outcomes, seconds), daemon=True)
        for _ in range(PROCESSES)
    ]
    try:
        for process in processes:
            process.start()
        return [outcome for _ in processes for outcome in outcomes.get(timeout=4 * SECONDS)]
    finally:
        for process in processes:
            process.kill()
            process.join()


@pytest.fixture
def service(settings: Settings, database: Database[dict[str, Any]]) -> Iterator[Service]:
    with running_service(settings, database) as service:
        yield service


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.endpoint_url) as proxy:
        yield proxy


def test_all_answer_with_what_the_one_has_deleted(service: Service, proxy: S3Proxy) -> None:
    campaigns = [service.add_campaign(number) for number in (1, 2)]
    exports = [service.exported(campaign, kind) for campaign in campaigns for kind in DELETED_TYPES]
    outcomes = delete_from_everywhere(through(service.settings, proxy.url), service.database)
    assert len(outcomes) == PROCESSES * CALLS
    answers = dict(outcomes)
    records = {str(record["_id"]): record for record in service.database["ccpaDeletions"].find()}
    assert answers.keys() == records.keys(), "no call failed, and none has a record that nobody was told of"
    assert len(set(outcomes)) == len(records), "those of one record have the same answer"
    assert {record["status"] for record in records.values()} == {"COMPLETE"}
    assert sum(record["requests"] for record in records.values()) >= PROCESSES * CALLS
    counts = [record["deletedCount"] for record in records.values()]
    assert [sum(count[name] for count in counts) for name in ("exports", "files")] == [len(exports)] * 2
    assert service.store.list() == []
    assert service.everything() == []
    tries = sum(record["tries"] for record in records.values())
    # Each try lists and deletes once in each of two buckets, and who joins does not: however many tries there were.
    assert len(proxy.seen("DeleteObjects")) <= 2 * tries


def test_all_fail_alike_while_s3_refuses_and_the_record_stays_open(service: Service, proxy: S3Proxy) -> None:
    export = service.exported(service.add_campaign(1))
    proxy.fail("ListObjectVersions", ACCESS_DENIED)
    settings = through(service.settings, proxy.url)
    outcomes = delete_from_everywhere(settings, service.database, FAILING_SECONDS)
    (record,) = service.database["ccpaDeletions"].find()
    assert set(outcomes) == {("DeleteFailed", str(record["_id"]))}
    assert record["status"] == "OPEN"
    assert record["tries"] <= PROCESSES * CALLS  # who joins does not try; how many do depends on when they come
    assert service.store.get(export.id).status is ExportStatus.FINISHED
    proxy.heal()
    assert service.heal_now().completed == (str(record["_id"]),)
    assert service.everything() == []


def hold_for_ever(settings: Settings) -> None:
    with service_of(settings) as service:
        service.delete(seconds=600)


def test_who_joins_a_killed_worker_waits_bounded_and_another_completes_it(service: Service, proxy: S3Proxy) -> None:
    service.exported(service.add_campaign(1))
    proxy.hold("ListObjectVersions", times=1)
    settings = through(service.settings, proxy.url).model_copy(update={"mongo_database": service.database.name})
    worker = forked().Process(target=hold_for_ever, args=(settings,), daemon=True)
    worker.start()
    try:
        proxy.wait_for("ListObjectVersions")
        with pytest.raises(VfexportError) as caught:
            service.delete(seconds=1)
        record = service.record()
        assert (caught.value.code, caught.value.payload) == ("DeleteFailed", str(record["_id"]))
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    finally:
        worker.kill()
        worker.join()
    service.let_time_go_by()
    assert service.delete().id == str(record["_id"])
    wait_for(lambda: service.everything() == [])
    assert service.database["ccpaDeletions"].count_documents({}) == 1
