"""`vfexport exports`: list, show, retry, cancel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli_helpers import Cli, error_of
from tests.integration.queue_helpers import DELIVERED, ERROR, queued, triggered
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.queue.models import Claim


@pytest.fixture
def cli(settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)  # no .env of a developer is read
    return Cli(settings_environment, tmp_path)


@pytest.fixture
def store(database: Database[dict[str, Any]]) -> ExportRepository:
    store = ExportRepository(database)
    initialise(database)
    return store


def test_the_queue_is_listed_newest_first_and_filtered(cli: Cli, store: ExportRepository) -> None:
    claim = triggered(store)
    store.claimed(claim).finish(DELIVERED)
    second = queued(store, export_type="codeWaves", date_key="17")
    third = queued(store, campaign_name="Winter Tour", requester_user_id="cli:ada", source="cli")
    lines = cli.run("exports", "list").stdout.splitlines()
    columns = ["EXPORT", "TYPE", "WAVE", "STATUS", "ERROR", "CREATED", "SECONDS", "ROWS", "SOURCE", "CAMPAIGN"]
    assert lines[0].split() == columns
    assert [line.split()[0] for line in lines[1:]] == [third.id, second.id, claim.export_id]
    assert lines[1].endswith("  cli     Winter Tour")
    assert lines[2].split()[1:4] == ["codeWaves", "17", "PENDING"]
    assert lines[3].split()[1:3] == ["entries", "FINISHED"]
    for arguments, wanted in [
        (["--status", "pending", "--limit", "1"], [third.id]),
        (["--type", "codeWaves"], [second.id]),
        (["--campaign", third.campaign_id], [third.id]),
    ]:
        found = json.loads(cli.run("exports", "list", "--json", *arguments).stdout)
        assert [export["id"] for export in found] == wanted


def test_rows_are_those_of_files_and_errors_have_their_code(cli: Cli, store: ExportRepository) -> None:
    finished = triggered(store)
    store.claimed(finished).finish(DELIVERED)
    failed = triggered(store, export_type="scoring")
    store.claimed(failed).set_count(12_345)
    store.claimed(failed).fail(ERROR)
    header, *lines = cli.run("exports", "list").stdout.splitlines()
    cells = {line.split()[0]: line for line in lines}

    def cell(claim: Claim, column: str) -> str:
        end = header.index(column) + len(column)  # figures are flush right
        return cells[claim.export_id][:end].split("  ")[-1].strip()

    assert cell(finished, "ROWS") == f"{DELIVERED.rows:,}"
    assert cell(failed, "ROWS") == ""
    assert "12,345" not in cells[failed.export_id]
    assert cells[failed.export_id].split()[2:4] == ["FAILED", "Boom"]
    assert float(cell(failed, "SECONDS")) >= 0


@pytest.mark.parametrize("campaign", ["nope", "0" * 24])
def test_a_campaign_that_is_not_there_is_no_empty_list(cli: Cli, store: ExportRepository, campaign: str) -> None:
    result = cli.run("exports", "list", "--campaign", campaign, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert error_of(result.stderr)["code"] == "CampaignNotFound"


@pytest.mark.parametrize("arguments", [["--status", "nonsense"], ["--type", "nonsense"], ["--limit", "0"]])
def test_a_wrong_filter_is_wrong_usage(cli: Cli, store: ExportRepository, arguments: list[str]) -> None:
    assert cli.run("exports", "list", *arguments).exit_code == 2


def test_an_export_is_shown_with_its_attempts_and_its_place(cli: Cli, store: ExportRepository) -> None:
    claim = triggered(store)
    store.claimed(claim).fail(ERROR)
    store.retry(claim.export_id)
    shown = json.loads(cli.run("exports", "show", claim.export_id, "--json").stdout)
    assert (shown["id"], shown["status"], shown["attempt"]) == (claim.export_id, "PENDING", 2)
    assert shown["queue"] == {"position": 1, "startsInSeconds": 0}
    (attempt,) = shown["attempts"]
    assert (attempt["attempt"], attempt["status"], attempt["runId"]) == (1, "FAILED", "run-1")
    assert attempt["error"]["code"] == "Boom"
    words = dict(line.split(maxsplit=1) for line in cli.run("exports", "show", claim.export_id).stdout.splitlines())
    assert (words["id"], words["queue"]) == (claim.export_id, "position 1, startsInSeconds 0")


def test_cancel_and_retry(cli: Cli, store: ExportRepository) -> None:
    export = queued(store)
    assert json.loads(cli.run("exports", "cancel", export.id, "--json").stdout)["status"] == "CANCELED"
    again = cli.run("exports", "cancel", export.id, "--json")
    assert (again.exit_code, error_of(again.stderr)["code"]) == (1, "ExportNotCancelable")
    assert json.loads(cli.run("exports", "retry", export.id, "--json").stdout)["attempt"] == 2
    again = cli.run("exports", "retry", export.id, "--json")
    assert (again.exit_code, error_of(again.stderr)["code"]) == (1, "ExportNotRetryable")
    assert store.get(export.id).status is ExportStatus.PENDING


def test_a_running_export_is_asked_to_end(cli: Cli, store: ExportRepository) -> None:
    claim = triggered(store)
    result = cli.run("exports", "cancel", claim.export_id, "--json")
    told = json.loads(result.stdout)
    assert (told["status"], told["runId"]) == ("TRIGGERED", "run-1")
    assert told["cancelRequested"].endswith("Z")


@pytest.mark.parametrize("action", ["show", "cancel", "retry"])
def test_an_export_that_is_not_there(cli: Cli, store: ExportRepository, action: str) -> None:
    for export_id in ("0" * 24, "nonsense"):
        result = cli.run("exports", action, export_id, "--json")
        assert (result.exit_code, error_of(result.stderr)["code"]) == (1, "ExportNotFound")
