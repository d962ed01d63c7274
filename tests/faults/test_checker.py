"""The checker finds what it is there for: each of these scenarios ends with one thing wrong."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults import checker as checking
from tests.faults.checker import Checker
from tests.faults.history import History
from tests.integration.queue_helpers import ERROR, queued, triggered
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services.initialise import initialise
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]


@pytest.fixture
def checker(database: Documents, settings: Settings) -> Iterator[Checker]:
    campaign_id = seed_campaign(database, entries=40)
    with History(database) as history:
        checker = Checker(database, settings, history, next_campaign=campaign_id)
        initialise(checker.database)
        yield checker


@pytest.fixture
def clients(settings: Settings) -> Iterator[BucketClients]:
    with BucketClients(settings) as clients:
        yield clients


def put(clients: BucketClients, key: str, bucket: str = "sfmcS3", **metadata: str) -> None:
    clients.bucket(bucket).call("put_object", {"Key": key, "Body": b"x", "Metadata": metadata})


def test_all_is_well_after_a_failure_and_a_retry(checker: Checker, clients: BucketClients) -> None:
    claim = triggered(checker.store, campaign_id=checker.next_campaign)
    target = clients.bucket("exportsS3")
    checker.store.claimed(claim).note_keys(target.name, ["left"])
    put(clients, "left", "exportsS3", **{"export-id": claim.export_id})
    checker.store.claimed(claim).fail(ERROR)
    checker.store.retry(claim.export_id)
    checker.store.claim(claim.export_id, "run-2")
    checker.store.close_run(claim.export_id, "run-2", ExportStatus.EXPIRED, ERROR)
    waiting = queued(checker.store, campaign_id=checker.next_campaign)
    checker.store.request_cancel(waiting.id)
    checker.assert_all_well([claim.export_id, waiting.id])
    ends = [(state.attempt, state.status) for state in checker.history.ends(claim.export_id)]
    assert ends == [(1, ExportStatus.FAILED), (2, ExportStatus.EXPIRED)]


@pytest.mark.parametrize("export_type", ["reminderEmail", "autoReminderEmail", "promoterEmailOptIn", "scoring"])
def test_files_of_every_shape_are_read(checker: Checker, export_type: str) -> None:
    checker.run_next = functools.partial(checker.run_export, export_type=export_type)
    checker.assert_all_well([])


def test_the_next_one_may_be_there_already_and_has_to_finish(checker: Checker) -> None:
    waiting, cancelled = queued(checker.store, campaign_id=checker.next_campaign), queued(checker.store)
    checker.store.request_cancel(cancelled.id)
    checker.take_up(waiting.id)
    checker.assert_all_well([cancelled.id, waiting.id], next_one=waiting.id)
    with pytest.raises(AssertionError, match="the queue takes the next export"):
        checker.assert_all_well([cancelled.id, waiting.id], next_one=cancelled.id)


def test_an_export_that_has_not_ended(checker: Checker) -> None:
    with pytest.raises(AssertionError, match="PENDING"):
        checker.assert_all_well([queued(checker.store).id])
    with pytest.raises(AssertionError, match="TRIGGERED"):
        checker.assert_all_well([triggered(checker.store).export_id])


def test_an_export_that_ended_twice(checker: Checker, database: Documents) -> None:
    claim = triggered(checker.store)
    checker.store.claimed(claim).fail(ERROR)
    for status in ("FINISHED", "FAILED"):
        database.exports.update_one({}, {"$set": {"status": status}}, bypass_document_validation=True)
    with pytest.raises(AssertionError, match="it happened once"):
        checker.assert_all_well([claim.export_id])


def test_two_at_a_time_however_shortly(checker: Checker, database: Documents) -> None:
    first = triggered(checker.store)
    database.exports.drop_indexes()
    second = triggered(checker.store, run_id="run-2")
    for claim in (first, second):
        checker.store.claimed(claim).fail(ERROR)
    with pytest.raises(AssertionError, match="TRIGGERED at the same time"):
        checker.assert_all_well([first.export_id, second.export_id])


def test_another_run_that_took_an_attempt_over(checker: Checker, database: Documents) -> None:
    claim = triggered(checker.store)
    database.exports.update_one({}, {"$set": {"runId": "run-2"}})
    checker.store.close_run(claim.export_id, "run-2", ExportStatus.FAILED, ERROR)
    with pytest.raises(AssertionError, match="took its attempt over"):
        checker.assert_all_well([claim.export_id])


def test_an_export_that_nobody_asked_for(checker: Checker) -> None:
    export = queued(checker.store)
    checker.store.request_cancel(export.id)
    with pytest.raises(AssertionError, match="nobody asked for"):
        checker.assert_all_well([])


@pytest.mark.parametrize("key", ["left.csv", "_staging/x-1/1"])
def test_a_file_without_an_export(checker: Checker, clients: BucketClients, key: str) -> None:
    put(clients, key)
    with pytest.raises(AssertionError, match="without an export"):
        checker.assert_all_well([])


def test_a_second_version(checker: Checker, clients: BucketClients) -> None:
    target = clients.bucket("exportsS3")
    versioning = {"Bucket": target.name, "VersioningConfiguration": {"Status": "Enabled"}}
    target.client.put_bucket_versioning(**versioning)
    export_id = checker.run_export(checker.next_campaign)
    put(clients, checker.store.get(export_id).keys[0], "exportsS3")
    with pytest.raises(AssertionError, match="several versions"):
        checker.assert_all_well([export_id])


def test_other_bytes_than_were_delivered(checker: Checker, clients: BucketClients) -> None:
    export_id = checker.run_export(checker.next_campaign)
    put(clients, checker.store.get(export_id).keys[0], "exportsS3")
    with pytest.raises(AssertionError, match="entries"):
        checker.assert_all_well([export_id])


def test_other_rows_than_the_reference_has(checker: Checker, database: Documents) -> None:
    export_id = checker.run_export(checker.next_campaign)
    database.entries.delete_one({})
    with pytest.raises(AssertionError, match="FINISHED"):
        checker.assert_all_well([export_id])


def test_an_unfinished_upload(checker: Checker, clients: BucketClients) -> None:
    clients.bucket("vfScoringS3").call("create_multipart_upload", {"Key": "begun"})
    with pytest.raises(AssertionError, match="unfinished uploads"):
        checker.assert_all_well([])


def test_a_process_that_is_left(
    checker: Checker, settings_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "PROCESS_SECONDS", 0.5)
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=settings_environment) as process:
        with pytest.raises(AssertionError, match="waited in vain"):
            checker.assert_all_well([])
        checker.staying = lambda: [process.pid]
        assert checker.left_processes() == []
        process.kill()
