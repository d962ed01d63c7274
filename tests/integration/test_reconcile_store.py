"""Documents and buckets compared: what is missing, altered or unknown, what is said of it, and what mending does."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId

from tests.api_client import running_api
from tests.cli_helpers import Cli
from tests.integration.queue_helpers import ERROR, triggered
from vfexport_core.queue.audit import Actor
from vfexport_core.queue.models import Delivered, Export, FileProblem
from vfexport_core.services import reconcile_store
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import initialise
from vfexport_core.services.reconcile_store import StoreReconciler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.settings import Settings

BY = Actor("cli:ann", "cli", "corr-1")
DATA = b"id\n1\n"


@pytest.fixture
def backend(settings: Settings, database: Database[dict[str, Any]]) -> Iterator[Backend]:
    with Backend(settings, database=database) as backend:
        initialise(database)
        yield backend


def put(backend: Backend, key: str, export_id: str | None, data: bytes = DATA) -> None:
    said = {} if export_id is None else {"export-id": export_id, "sha256": hashlib.sha256(data).hexdigest()}
    backend.buckets.bucket("exportsS3").call("put_object", {"Key": key, "Body": data, "Metadata": said})


def keys_of(backend: Backend) -> set[str]:
    return {item["Key"] for item in backend.buckets.bucket("exportsS3").call("list_objects_v2", {}).get("Contents", [])}


def delivered(backend: Backend, files: int = 1) -> Export:
    """An export that has delivered files, which are there."""
    claim = triggered(backend.queue)
    export = backend.queue.get(claim.export_id)
    keys = tuple(f"{export.campaign_id}/entries/{number}-{export.id}.csv" for number in range(files))
    name = backend.buckets.bucket("exportsS3").name
    claimed = backend.queue.claimed(claim)
    claimed.note_keys(name, keys)
    for key in keys:
        put(backend, key, export.id)
    digest = hashlib.sha256(DATA).hexdigest()
    return claimed.finish(Delivered(bucket=name, keys=keys, rows=1, bytes=len(DATA) * files, sha256=(digest,) * files))


def found_by(backend: Backend, hours: float = 0) -> dict[str, tuple[str, str | None]]:
    found = StoreReconciler(backend).look(unknown_hours=hours)
    return {one.key: (one.difference.value, one.export_id) for one in found}


def test_what_is_as_recorded_is_not_told_and_neither_is_what_is_of_others(backend: Backend) -> None:
    delivered(backend)
    delivered(backend, files=3)
    claim = triggered(backend.queue)
    key = f"{'0' * 24}/entries/x-{claim.export_id}.csv"
    backend.queue.claimed(claim).note_keys(backend.buckets.bucket("exportsS3").name, [key])
    put(backend, key, claim.export_id)
    put(backend, "reports/summary.csv", None)
    assert found_by(backend) == {}


def test_missing_and_altered_files_are_noted_on_their_exports_and_nothing_is_deleted(
    backend: Backend, settings: Settings
) -> None:
    gone, longer, other, several = delivered(backend), delivered(backend), delivered(backend), delivered(backend, 2)
    bucket = backend.buckets.bucket("exportsS3")
    for key in (gone.keys[0], several.keys[1]):
        bucket.call("delete_object", {"Key": key})
    put(backend, longer.keys[0], longer.id, DATA * 2)
    put(backend, other.keys[0], other.id, b"id\n2\n")
    before = keys_of(backend)
    assert found_by(backend) == {
        gone.keys[0]: ("missing", gone.id),
        several.keys[1]: ("missing", several.id),
        longer.keys[0]: ("altered", longer.id),
        other.keys[0]: ("altered", other.id),
    }
    assert backend.queue.get(gone.id).file_problem is None, "looking changes nothing"
    reconciler = StoreReconciler(backend)
    assert all(reconciler.fix(finding, BY, deletes=True) for finding in reconciler.look(unknown_hours=0))
    assert keys_of(backend) == before
    assert backend.queue.get(gone.id).file_problem is FileProblem.MISSING
    with running_api(settings) as api:
        shown = {
            export.id: api.get(f"/campaigns/{export.campaign_id}/exports/{export.id}", token=api.token("*")).json()
            for export in (gone, longer)
        }
    assert (shown[gone.id]["fileProblem"], "path" in shown[gone.id]) == ("missing", False)
    assert (shown[longer.id]["fileProblem"], "path" in shown[longer.id]) == ("altered", True)
    put(backend, gone.keys[0], gone.id)
    (back,) = (one for one in reconciler.look(unknown_hours=0) if one.export_id == gone.id)
    assert back.difference.value == "sound"
    assert reconciler.fix(back, BY)
    assert backend.queue.get(gone.id).file_problem is None
    assert backend.queue.retry(longer.id, redeliver=True).file_problem is None


def test_objects_that_no_export_records_are_deleted_only_if_asked_for_and_ours(backend: Backend) -> None:
    kept = delivered(backend)
    lost, strange, part = (f"{'0' * 24}/entries/{name}.csv" for name in ("lost", "strange", "part"))
    part = f"NA/DM_ArtistPresale_A_en-us_{'0' * 24}_202601310930_001.csv"
    staged = "_staging/0123456789abcdef01234567-1/0"
    owner = str(ObjectId())
    for key in (lost, part, staged):
        put(backend, key, owner)
    put(backend, strange, None)
    assert found_by(backend, hours=1) == {}, "they may be of an attempt that runs"
    unknown = dict.fromkeys((lost, part, staged), ("unknown", owner))
    assert found_by(backend) == unknown | {strange: ("foreign", None)}
    reconciler = StoreReconciler(backend)
    findings = [*reconciler.look(unknown_hours=0)]
    assert not any(reconciler.fix(finding, BY) for finding in findings)
    assert sum(reconciler.fix(finding, BY, deletes=True) for finding in findings) == len(unknown)
    assert keys_of(backend) == {strange, kept.keys[0]}


def test_what_is_recorded_meanwhile_is_not_deleted(backend: Backend) -> None:
    claim = triggered(backend.queue)
    key = f"{'0' * 24}/entries/a.csv"
    put(backend, key, claim.export_id)
    reconciler = StoreReconciler(backend)
    (finding,) = reconciler.look(unknown_hours=0)
    backend.queue.claimed(claim).note_keys(backend.buckets.bucket("exportsS3").name, [key])
    assert not reconciler.fix(finding, BY, deletes=True)
    assert keys_of(backend) == {key}


def test_what_a_running_export_puts_together_is_not_deleted(backend: Backend) -> None:
    """Nobody records what is being staged: only its key, or the object, says whose it is."""
    claim = triggered(backend.queue)
    mine, nameless = (f"_staging/{claim.export_id}-1/{number}" for number in range(2))
    put(backend, mine, claim.export_id)
    put(backend, nameless, str(ObjectId()))
    reconciler = StoreReconciler(backend)
    findings = [*reconciler.look(unknown_hours=0)]
    assert {one.key for one in findings} == {mine, nameless}
    assert not any(reconciler.fix(finding, BY, deletes=True) for finding in findings)
    backend.queue.claimed(claim).fail(ERROR)
    assert all(reconciler.fix(finding, BY, deletes=True) for finding in findings)
    assert keys_of(backend) == set()


def test_how_old_an_object_is_does_not_depend_on_the_clock_of_this_machine(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(days=2)

    monkeypatch.setattr(reconcile_store, "datetime", Ahead)
    put(backend, "_staging/0123456789abcdef01234567-1/0", str(ObjectId()))
    assert found_by(backend, hours=24) == {}


@pytest.mark.parametrize("hours", ["nan", "inf", "-1", "1000001"])
def test_hours_that_are_none_are_refused(hours: str, tmp_path: Path) -> None:
    assert Cli({}, tmp_path).run("reconcile", "--unknown-hours", hours).exit_code == 2


def test_the_command_says_what_it_would_do_and_does_it(
    backend: Backend, settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of a developer is read
    cli = Cli(settings_environment, tmp_path)
    assert cli.run("reconcile").stdout == "all as recorded\n"
    export = delivered(backend)
    backend.buckets.bucket("exportsS3").call("delete_object", {"Key": export.keys[0]})
    looked = cli.run("reconcile")
    assert looked.exit_code == 1
    assert f"{export.keys[0]} (export {export.id}): nothing is under its key. with --fix: noted" in looked.stdout
    mended = cli.run("reconcile", "--fix", "--json")
    assert mended.exit_code == 0
    assert json.loads(mended.stdout)["left"] == 0
    assert cli.run("reconcile", "--delete-unknown").exit_code == 2
