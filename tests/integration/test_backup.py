"""The drill: back up, lose everything, restore, compare with the buckets, go on; and what is refused on the way."""

from __future__ import annotations

import gzip
import io
import json
import stat
from typing import TYPE_CHECKING, Any

import bson
import pytest

from tests.ccpa import USER_ID, Service
from tests.cli_helpers import Cli, error_of, load
from tests.integration.queue_helpers import queued, triggered
from vfexport_core.errors import RestoreRefused
from vfexport_core.mongo.dump import BACKED_UP, check_backup, write_backup
from vfexport_core.queue.audit import Actor
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services.backup import restore
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import SCHEMA_VERSION, initialise

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]


@pytest.fixture
def cli(settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)  # no .env of a developer is read
    return Cli(settings_environment | {"VFEXPORT_POLLING_INTERVAL_MILLIS": "20"}, tmp_path)


def everything(database: Documents) -> dict[str, list[Any]]:
    return {name: sorted(map(str, database[name].find())) for name in BACKED_UP}


def test_what_is_lost_is_restored_compared_and_goes_on(
    cli: Cli, settings: Settings, database: Documents, tmp_path: Path
) -> None:
    initialise(database)
    campaign = load(database, 30)
    with Backend(settings, database=database) as backend:
        assert cli.run("export", campaign, "entries").exit_code == 0
        service = Service(settings, database, backend.buckets)
        service.open_record(USER_ID)
        file = tmp_path / "backup.bin"
        counts = json.loads(cli.run("backup", str(file), "--json").stdout)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        before = everything(database)
        assert (counts["exports"], counts["ccpaDeletions"]) == (1, 1)
        assert counts["ccpaFileIndex"] > 0
        since = cli.run("export", campaign, "fanlist", "--json")
        refused = cli.run("restore", str(file), "--json")
        assert error_of(refused.stderr)["code"] == "RestoreRefused"
        assert backend.queue.pause.read() is None, "what is refused changes nothing"
        for name in (*BACKED_UP, "exportControl"):
            database.drop_collection(name)
        (delivered,) = (document for document in before["exports"])
        assert cli.run("restore", str(file), "--json").exit_code == 0
        assert {name: found for name, found in everything(database).items() if name != "exportAudit"} == {
            name: found for name, found in before.items() if name != "exportAudit"
        }
        pause = backend.queue.pause.read()
        assert pause is not None
        assert "restored from a backup" in pause.reason
        compared = json.loads(cli.run("reconcile", "--unknown-hours", "0", "--json").stdout)["differences"]
        assert [one["difference"] for one in compared] == ["unknown"], "what was delivered since the backup"
        assert compared[0]["exportId"] == json.loads(since.stdout)["exportId"]
        assert cli.run("queue", "resume").exit_code == 0
        assert cli.run("export", campaign, "codes").exit_code == 0
        assert {export.status for export in backend.queue.list()} == {ExportStatus.FINISHED}
        assert delivered


def a_backup(database: Documents) -> bytes:
    out = io.BytesIO()
    write_backup(database, out, schema_version=SCHEMA_VERSION)
    return out.getvalue()


def framed(*frames: dict[str, Any]) -> bytes:
    return gzip.compress(b"".join(map(bson.encode, frames)))


HEAD = {"format": "vfexport-backup", "schema": SCHEMA_VERSION, "database": "d"}
END = {"counts": dict.fromkeys(BACKED_UP, 0)}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no backup", "not a backup"),
        (framed({"x": 1}), "not a backup"),
        (framed(HEAD), "cut"),
        (framed(HEAD | {"schema": SCHEMA_VERSION + 1}, END), "newer version"),
        (framed(HEAD, {"collection": "users", "document": {"_id": 1}}, END), "unknown collection 'users'"),
        (framed(HEAD, {"counts": END["counts"] | {"exports": 1}}), "does not hold"),
    ],
    ids=["text", "another file", "cut", "newer", "unknown collection", "wrong counts"],
)
def test_what_is_no_whole_backup_of_ours_is_refused(database: Documents, data: bytes, why: str) -> None:
    with pytest.raises(RestoreRefused, match=why):
        check_backup(database, io.BytesIO(data), schema_version=SCHEMA_VERSION)


def test_a_backup_that_was_cut_anywhere_is_refused(database: Documents) -> None:
    initialise(database)
    data = a_backup(database)
    for length in (len(data) // 2, len(data) - 1):
        with pytest.raises(RestoreRefused):
            check_backup(database, io.BytesIO(data[:length]), schema_version=SCHEMA_VERSION)


class Pipe(io.BytesIO):
    """Read only once, as stdin."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation


def test_active_exports_that_cannot_be_so_at_a_time_are_ended_and_told(settings: Settings, database: Documents) -> None:
    """The exports are read while they go on: one may be read as TRIGGERED, end, and the next begin before its turn."""
    initialise(database)
    with Backend(settings, database=database) as backend:
        claims = []
        for _ in range(2):
            claims.append(triggered(backend.queue))
            database.exports.drop_indexes()
            database.exports.update_one({"status": "TRIGGERED"}, {"$set": {"status": "FINISHED"}})
        first = queued(backend.queue)
        second = queued(backend.queue, campaign_id=first.campaign_id)
        database.exports.update_many({"runId": {"$exists": True}}, {"$set": {"status": "TRIGGERED"}})
        data = a_backup(database)
        for name in BACKED_UP:
            database.drop_collection(name)
        backend.queue.pause.begin("upgrade", "cli:ann")
        counts = restore(backend, Pipe(data), Actor("cli:bob", "cli", "corr-1"))
        assert (counts["exports"], counts["exportsEnded"]) == (4, 2)
        kept, lost, waiting, canceled = (
            backend.queue.get(one) for one in (*(claim.export_id for claim in claims), first.id, second.id)
        )
        assert (kept.status, waiting.status) == (ExportStatus.TRIGGERED, ExportStatus.PENDING)
        assert (lost.status, canceled.status) == (ExportStatus.FAILED, ExportStatus.CANCELED)
        assert lost.error is not None
        assert lost.error["code"] == "WorkerLost"
        assert [(one.attempt, one.status) for one in lost.attempts] == [(1, ExportStatus.FAILED)]
        assert [(one.attempt, one.status) for one in canceled.attempts] == [(1, ExportStatus.CANCELED)]
        assert lost.attempts[0].triggered is not None
        pause = backend.queue.pause.read()
        assert pause is not None
        assert (pause.reason, pause.by) == ("upgrade", "cli:ann")
        assert backend.queue.retry(lost.id).attempt == 2


def test_the_index_of_people_in_files_is_read_behind_the_exports() -> None:
    """An export that ends meanwhile has its index before: read first, the index would lack it."""
    assert BACKED_UP.index("ccpaFileIndex") > BACKED_UP.index("exports") > BACKED_UP.index("ccpaDeletions") == 0
