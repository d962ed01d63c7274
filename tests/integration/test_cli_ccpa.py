"""`vfexport ccpa delete`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.ccpa import USER_ID
from tests.cli_helpers import Cli, error_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ccpa import Service


@pytest.fixture
def cli(settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(settings_environment, tmp_path)


def test_it_deletes_as_the_api_does(cli: Cli, service: Service) -> None:
    service.exported(service.add_campaign(1))
    result = cli.run("ccpa", "delete", USER_ID, "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"deletedCount": {"exports": 1, "files": 1}})
    again = cli.run("ccpa", "delete", USER_ID)
    assert again.stdout.startswith("deleted: 0 exports, 0 files")
    assert service.record()["requestedBy"].startswith("cli:")
    assert service.everything() == []


def test_what_is_not_complete_is_a_passing_fault(cli: Cli, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfexport_core.cli.ccpa._SECONDS", 0.2)
    export = service.request(service.add_campaign(1))
    claim, _ = service.store.claim(export.id, "run-1")
    service.store.claimed(claim).note_keys(service.buckets.bucket("exportsS3").name, ["k"])
    result = cli.run("ccpa", "delete", USER_ID, "--json")
    assert (result.exit_code, error_of(result.stderr)["code"]) == (3, "DeleteFailed")
    assert USER_ID not in result.output


def test_wrong_ids_and_settings_are_told(cli: Cli, service: Service) -> None:
    assert cli.run("ccpa", "delete", "a/b").exit_code == 2
    del cli.environment["VFEXPORT_CCPA_HASH_KEY"]
    result = cli.run("ccpa", "delete", USER_ID)
    assert result.exit_code == 1
    assert "VFEXPORT_CCPA_HASH_KEY" in result.stderr
    assert USER_ID not in result.stderr
