"""Who asked for what: written with the action, by every way in, without a fan, and found again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId

from tests.api_client import insert_campaign, run_to_end, running_api
from tests.ccpa import USER_ID, Service
from tests.cli_helpers import Cli
from tests.integration.queue_helpers import ERROR, queued, triggered
from vfexport_core.errors import ExportNotCancelable, SourceUnavailable, VfexportError
from vfexport_core.mongo.own_collections import AUDIT
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.queue.audit import Actor, AuditAction, AuditLog
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

ANN = Actor("ann", "api", "corr-1")


@pytest.fixture
def log(database: Documents) -> AuditLog:
    initialise(database)
    return AuditLog(database, days=10)


def test_an_entry_says_who_did_what_to_which_and_until_when_it_is_kept(log: AuditLog, database: Documents) -> None:
    export = queued(ExportRepository(database))
    log.note(Actor("$$ROOT", "api", "corr-2"), AuditAction.REQUEST, export.id, export)
    (entry,) = log.find()
    assert (entry.subject, entry.action, entry.target, entry.outcome) == ("$$ROOT", "request", export.id, None)
    assert (entry.campaign_id, entry.export_type, entry.correlation_id) == (export.campaign_id, "entries", "corr-2")
    (stored,) = database[AUDIT].find()
    assert stored["expires"] - stored["at"] == timedelta(days=10)


def test_what_was_refused_has_the_error_as_its_outcome(log: AuditLog) -> None:
    def refuse() -> None:
        with log.noted(ANN, AuditAction.CANCEL, "x"):
            seen.extend(log.find())
            raise ExportNotCancelable("it has ended")

    seen: list[Any] = []
    with pytest.raises(ExportNotCancelable):
        refuse()
    (entry,) = log.find()
    assert ([one.outcome for one in seen], entry.outcome) == ([None], "ExportNotCancelable")


def test_an_address_is_noted_once_while_it_is_good(log: AuditLog, database: Documents) -> None:
    now = 0.0
    store = ExportRepository(database)
    exports = [queued(store), queued(store)]
    asked = AuditLog(database, clock=lambda: now)
    for moment, noted in ((0.0, 2), (59.0, 2), (60.0, 4)):
        now = moment
        asked.note_downloads(ANN, exports, 60)
        assert len(log.find()) == noted
    asked.note_downloads(Actor("bob", "api", "corr-3"), exports[:1], 60)
    assert [entry.subject for entry in log.find()].count("bob") == 1


def test_entries_are_found_newest_first_by_what_is_wanted(log: AuditLog) -> None:
    first, second = str(ObjectId()), str(ObjectId())
    log.note(ANN, AuditAction.CANCEL, first)
    log.note(Actor("bob", "cli", "corr-2"), AuditAction.RETRY, second)
    log.note(ANN, AuditAction.RETRY, first)
    assert [entry.action for entry in log.find()] == ["retry", "retry", "cancel"]
    assert [entry.target for entry in log.find(subject="ann", action=AuditAction.RETRY)] == [first]
    assert len(log.find(target=first, limit=1)) == 1
    (latest, *_) = log.find()
    assert log.find(since=latest.at + timedelta(seconds=1)) == []


def test_every_way_in_leaves_its_entry_and_no_fan(
    settings: Settings, log: AuditLog, database: Documents, settings_environment: dict[str, str], tmp_path: Path
) -> None:
    with running_api(settings) as api:
        campaign = insert_campaign(database)
        path, token = f"/campaigns/{campaign}/exports", api.token("*", user_id="admin-7")
        one = api.post(path, token=token, json={"exportType": "entries"}).json()["id"]
        api.post(f"{path}/{one}/cancel", token=token)
        api.post(f"{path}/{one}/cancel", token=token)
        Cli(settings_environment, tmp_path).run("exports", "retry", one)
        run_to_end(api, api.services.queue.get(one), "a.csv")
        for _ in range(2):
            api.get(f"{path}/{one}", token=token)
            api.get(path, token=token)
        forged = api.token("*", user_id="cli:root")
        api.post(path, token=forged, json={"exportType": "verifiedEntries"})
        for nothing in ("x", "f" * 24):
            assert api.post(f"{path}/{nothing}/cancel", token=token).status_code == 404
        service = Service(settings, database, api.services.buckets)
        service.delete(USER_ID)
    entries = [entry for entry in log.find() if entry.target == one or entry.action is AuditAction.DELETE_USER]
    assert {(entry.campaign_id, entry.export_type) for entry in entries if entry.target == one} == {
        (campaign, "entries")
    }
    others = [entry for entry in log.find() if entry not in entries]
    assert [(entry.subject, entry.source, entry.outcome) for entry in others] == [
        ("admin-7", "api", "ExportNotFound"),  # of what cannot be an export's id there is none
        ("cli:root", "api", None),
    ]
    found = [(entry.subject.partition(":")[0], entry.action.value, entry.outcome) for entry in entries]
    assert found[::-1] == [
        ("admin-7", "request", None),
        ("admin-7", "cancel", None),
        ("admin-7", "cancel", "ExportNotCancelable"),
        ("cli", "retry", None),
        ("admin-7", "download", None),
        ("supreme-1", "deleteUser", None),
    ]
    assert USER_ID not in str([*database[AUDIT].find()])


def test_nothing_is_done_that_cannot_be_noted(settings: Settings, database: Documents) -> None:
    initialise(database)
    store = ExportRepository(database)
    claim = triggered(store)
    store.claimed(claim).fail(ERROR)
    broken = AuditLog(database.client["x" * 64], RetryLimits(0.1))  # no database may have so long a name
    with pytest.raises(SourceUnavailable), broken.noted(ANN, AuditAction.RETRY, claim.export_id):
        raise AssertionError("it was done")


def test_an_entry_that_is_refused_is_not_called_an_outage(log: AuditLog, database: Documents) -> None:
    """Such as by the validator of a version that knows an action less."""
    database.command("collMod", AUDIT, validator={"action": {"$ne": "cancel"}})
    with pytest.raises(VfexportError) as refused:
        log.note(ANN, AuditAction.CANCEL, "0" * 24)
    assert type(refused.value) is VfexportError, "trying again does not help"
    assert refused.value.message == "collection exportAudit (write): the validator refused a document"
    assert "`vfexport init`" in refused.value.hint
    assert (refused.value.__cause__, refused.value.__suppress_context__) == (None, True)


def test_the_command_lists_them(
    log: AuditLog, settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of a developer is read
    cli = Cli(settings_environment, tmp_path)
    log.note(ANN, AuditAction.CANCEL, "0" * 24)
    header, line = cli.run("audit").stdout.splitlines()
    assert header.split() == ["AT", "SOURCE", "SUBJECT", "ACTION", "TARGET", "TYPE", "OUTCOME"]
    assert line.split()[1:] == ["api", "ann", "cancel", "0" * 24]
    (entry,) = json.loads(cli.run("audit", "--action", "cancel", "--since", "2026-01-01", "--json").stdout)
    assert (entry["subject"], entry["source"]) == ("ann", "api")
    assert cli.run("audit", "--subject", "bob").stdout.splitlines() == [header.rstrip()]
