"""What is past its time: listed first, then taken away with its files, never what has changed or cannot be deleted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bson import ObjectId

from tests.cli_helpers import Cli, error_of
from tests.integration.queue_helpers import ERROR, queued, triggered
from tests.integration.test_reconcile_store import BY, delivered, keys_of, put
from vfexport_core.ccpa.file_index import FileIndex, file_of
from vfexport_core.errors import BucketHangs
from vfexport_core.mongo.own_collections import FILE_INDEX
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import initialise
from vfexport_core.services.retention import Retention
from vfexport_core.storage.s3.s3_store import S3Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.queue.models import Export
    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

DAYS = 30


@pytest.fixture
def backend(settings: Settings, database: Documents) -> Iterator[Backend]:
    with Backend(settings, database=database) as backend:
        initialise(database)
        yield backend


def make_old(database: Documents, export: Export, days: float = DAYS + 1) -> Export:
    """Have it asked for long ago, and ended `days` ago."""
    now = datetime.now(UTC)
    field = f"date.{export.status.lower()}"
    moments = {"date.created": now - timedelta(days=400), field: now - timedelta(days=days)}
    database.exports.update_one({"_id": ObjectId(export.id)}, {"$set": moments})
    return export


def ids(backend: Backend) -> set[str]:
    return {export.id for export in backend.queue.list()}


def test_what_ended_long_ago_goes_with_its_files_and_the_rest_stays(backend: Backend, database: Documents) -> None:
    old, recent = (delivered(backend, files) for files in (2, 1))
    failed = triggered(backend.queue)
    lost_key = f"{'0' * 24}/entries/{failed.export_id}.csv"
    backend.queue.claimed(failed).note_keys(backend.buckets.bucket("exportsS3").name, [lost_key])
    put(backend, lost_key, failed.export_id)
    backend.queue.claimed(failed).fail(ERROR)
    make_old(database, old)
    make_old(database, recent, DAYS - 1)
    make_old(database, backend.queue.get(failed.export_id))
    pending = queued(backend.queue)
    database.exports.update_one(
        {"_id": ObjectId(pending.id)}, {"$set": {"date.created": datetime(2020, 1, 1, tzinfo=UTC)}}
    )
    retention = Retention(backend, DAYS)
    before = ids(backend)
    planned = {one.export.id: one.files for one in retention.plan()}
    assert planned == {old.id: 1, failed.export_id: 1}
    assert ids(backend) == before, "looking changes nothing"
    assert [one.problem for one in retention.apply(BY)] == [None, None]
    assert ids(backend) == before - planned.keys()
    assert keys_of(backend) == {*recent.keys}
    assert [entry.target for entry in backend.audit.find(subject=BY.subject)] == [failed.export_id, old.id]
    assert [*retention.apply(BY)] == []


def test_the_index_of_the_people_in_a_file_goes_with_it(backend: Backend, database: Documents) -> None:
    export, other = make_old(database, delivered(backend)), delivered(backend)
    index = FileIndex(database, RetryLimits(5))
    for one in (export, other):
        index.add_segment(file_of(one.id, 1), 1, one.campaign_id, "0" * 16, np.array([1, 2], dtype=np.uint64))
    assert [one.problem for one in Retention(backend, DAYS).apply(BY)] == [None]
    assert database[FILE_INDEX].distinct("file") == [file_of(other.id, 1)]


def test_what_is_run_again_meanwhile_stays_and_so_does_what_a_bucket_does_not_give_up(
    backend: Backend, database: Documents
) -> None:
    failed = triggered(backend.queue)
    backend.queue.claimed(failed).fail(ERROR)
    make_old(database, backend.queue.get(failed.export_id))
    applied = Retention(backend, DAYS).apply(BY)
    with pytest.MonkeyPatch.context() as patch:
        remove = backend.queue.removal.remove
        patch.setattr(
            type(backend.queue.removal),
            "remove",
            lambda _, export: (backend.queue.retry(export.id), remove(export))[1],
        )
        (one,) = applied
    assert one.problem == "it has been run again meanwhile"
    other = make_old(database, delivered(backend))
    database.exports.update_one({"_id": ObjectId(other.id)}, {"$set": {"bucket": "gone", "attempts.0.bucket": "gone"}})
    (left,) = Retention(backend, DAYS).apply(BY)
    assert left.problem is not None
    assert left.problem.startswith("ConfigurationError: bucket gone")
    assert ids(backend) == {failed.export_id, other.id}


def test_one_export_that_cannot_be_taken_away_keeps_no_other(backend: Backend, database: Documents) -> None:
    """Its bucket was renamed, or its type is of another version: that will be so tomorrow as well."""
    renamed, unknown, well = (make_old(database, delivered(backend)) for _ in range(3))
    old_name = {"bucket": "gone", "attempts.0.bucket": "gone"}
    database.exports.update_one({"_id": ObjectId(renamed.id)}, {"$set": old_name})
    database.exports.update_one({"_id": ObjectId(unknown.id)}, {"$set": {"exportType": "ofAnotherVersion"}})
    problems = {one.export.id: (one.problem or "").partition(":")[0] for one in Retention(backend, DAYS).apply(BY)}
    assert problems == {renamed.id: "ConfigurationError", unknown.id: "InvalidExportType", well.id: ""}
    assert ids(backend) == {renamed.id, unknown.id}


def test_a_bucket_that_does_not_answer_is_asked_once(
    backend: Backend, database: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fail(_: S3Store, export_id: str, *_keys: object) -> None:
        asked.append(export_id)
        raise BucketHangs("it hangs")

    for _ in range(2):
        make_old(database, delivered(backend))
    monkeypatch.setattr(S3Store, "discard_attempt", fail)
    assert ["failed before" in (one.problem or "") for one in Retention(backend, DAYS).apply(BY)] == [False, True]
    assert len(asked) == 1


def test_the_command_lists_unless_it_is_told_to_apply(
    backend: Backend,
    database: Documents,
    settings_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of a developer is read
    cli = Cli(settings_environment, tmp_path)
    off = cli.run("retention", "--json")
    assert (off.exit_code, error_of(off.stderr)["payload"]) == (1, "VFEXPORT_RETENTION_DAYS")
    export = make_old(database, delivered(backend))
    cli.environment["VFEXPORT_RETENTION_DAYS"] = str(DAYS)
    listed = cli.run("retention")
    assert listed.stdout.splitlines()[-1] == "1 exports that ended more than 30 days ago, 0 left"
    assert ids(backend) == {export.id}
    applied = json.loads(cli.run("retention", "--apply", "--json").stdout)
    assert [one["id"] for one in applied["exports"]] == [export.id]
    assert ids(backend) == set()
