"""`vfexport types`, `waves`, `plan`, `verify`, `exports download`, and what a shell offers to complete."""

from __future__ import annotations

import hashlib
import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli_helpers import Cli, error_of, load
from vfexport_core.catalog import all_specs
from vfexport_core.cli import completion
from vfexport_core.embedded.synthetic import DATE_KEYS
from vfexport_core.services.initialise import initialise
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.settings import Settings

ENTRIES = 30


@pytest.fixture
def cli(settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(settings_environment, tmp_path)


@pytest.fixture
def campaign(database: Database[dict[str, Any]]) -> str:
    initialise(database)
    return load(database, ENTRIES)


def done(cli: Cli, *arguments: str) -> Any:
    result = cli.run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("export_type", ["entries", "reminderEmail", "autoReminderEmail"])
def test_what_was_delivered_is_read_back(cli: Cli, campaign: str, settings: Settings, export_type: str) -> None:
    delivered = done(cli, "export", campaign, export_type)
    keys = delivered.get("keys") or [delivered["key"]]
    verified = done(cli, "verify", delivered["exportId"])
    assert verified["ok"]
    assert (verified["rows"], verified["bytes"]) == (delivered["rows"], delivered["bytes"])
    assert [file["key"] for file in verified["files"]] == keys
    assert verified["documentsNow"] == verified["documentsRead"] > 0
    lines = cli.run("verify", delivered["exportId"]).stdout.splitlines()
    assert [line.split()[0] for line in lines[: len(keys)]] == ["ok"] * len(keys)

    with BucketClients(settings) as buckets:
        store = buckets.store_named(delivered["bucket"], likely="exportsS3")
        content = b"".join(store.read(keys[0]))
        bucket = next(name for name in buckets.configured if buckets.bucket(name).name == delivered["bucket"])
        target = buckets.bucket(bucket)
        target.call("put_object", {"Key": keys[0], "Body": content[:-1]})
        changed = cli.run("verify", delivered["exportId"], "--json")
        assert (changed.exit_code, json.loads(changed.stdout)["ok"]) == (1, False)
        assert error_of(changed.stderr)["code"] == "FileDiffers"
        target.call("delete_object", {"Key": keys[0]})
    gone = cli.run("verify", delivered["exportId"], "--json")
    assert gone.exit_code == 1
    assert "NoSuchKey" in json.loads(gone.stdout)["files"][0]["problem"]


def test_a_file_is_downloaded_under_its_name_and_only_whole(cli: Cli, campaign: str, settings: Settings) -> None:
    delivered = done(cli, "export", campaign, "scoring")
    downloaded = done(cli, "exports", "download", delivered["exportId"])
    file = cli.folder / downloaded["output"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert " - scoring - " in file.name
    assert hashlib.sha256(file.read_bytes()).hexdigest() == delivered["sha256"] == downloaded["sha256"]
    again = cli.run("exports", "download", delivered["exportId"], "--json")
    assert (again.exit_code, error_of(again.stderr)["code"]) == (1, "OutputFailed")
    assert cli.run("audit", "--action", "download").stdout.count(delivered["exportId"]) == 1, "of what was refused none"
    to_stdout = cli.run("exports", "download", delivered["exportId"], "--output", "-", "--json")
    assert to_stdout.stdout_bytes == file.read_bytes()

    with BucketClients(settings) as buckets:
        buckets.bucket("scoringS3").call("put_object", {"Key": delivered["key"], "Body": b"id\n"})
    file.unlink()
    changed = cli.run("exports", "download", delivered["exportId"], "--json")
    assert (changed.exit_code, error_of(changed.stderr)["code"]) == (1, "FileDiffers")
    assert list(cli.folder.iterdir()) == []


def test_several_files_are_downloaded_into_a_folder(cli: Cli, database: Database[dict[str, Any]]) -> None:
    initialise(database)
    campaign = load(database, 200)
    cli.environment["VFEXPORT_MAX_ROWS_PER_FILE"] = "2"
    delivered = done(cli, "export", campaign, "autoReminderEmail")
    assert len(delivered["keys"]) > 1
    assert done(cli, "verify", delivered["exportId"])["rows"] == delivered["rows"]
    assert cli.run("exports", "download", delivered["exportId"], "--output", "-").exit_code == 2
    (cli.folder / "files").mkdir()
    result = cli.run("exports", "download", delivered["exportId"], "--output", "files")
    assert result.exit_code == 0, result.stderr
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in (cli.folder / "files").iterdir()}
    assert digests == set(delivered["sha256"])


def test_nothing_of_an_export_that_has_not_finished(
    cli: Cli, campaign: str, database: Database[dict[str, Any]]
) -> None:
    done(cli, "export", campaign, "codes")
    database["exports"].update_many({}, {"$set": {"status": "FAILED"}})
    (export,) = done(cli, "exports", "list")
    for command in (["verify"], ["exports", "download"]):
        result = cli.run(*command, export["id"], "--json")
        assert (result.exit_code, error_of(result.stderr)["code"]) == (1, "ExportNotFinished")


def test_the_types_are_listed(cli: Cli) -> None:
    assert [one["type"] for one in done(cli, "types")] == [spec.type for spec in all_specs()]
    lines = cli.run("types").stdout.splitlines()
    assert lines[0].split() == ["TYPE", "BUCKET", "FILE", "OPTION", "ROWS"]
    options = {line.split()[0]: line.split()[3] for line in lines[1:]}
    assert (options["entries"], options["codeWaves"]) == ("--all-markets", "--date-key")


def test_the_waves_of_a_campaign_are_listed(cli: Cli, campaign: str, database: Database[dict[str, Any]]) -> None:
    stored = {key for key in database["codes"].distinct("dateKey") if key is not None}
    assert done(cli, "waves", campaign) == sorted(map(str, stored))
    assert set(map(str, stored)) <= set(DATE_KEYS)
    assert "2026-03-" in cli.run("waves", campaign).stdout
    missing = cli.run("waves", "0" * 24, "--json")
    assert (missing.exit_code, error_of(missing.stderr)["code"]) == (1, "CampaignNotFound")


def test_a_plan_says_what_would_be_done_and_does_nothing(
    cli: Cli, campaign: str, database: Database[dict[str, Any]]
) -> None:
    before = done(cli, "plan", campaign, "entries")
    assert (before["documents"], before["seconds"], before["pastExports"]) == (ENTRIES, None, 0)
    assert (before["isUpperBound"], done(cli, "plan", campaign, "artistOptIn")["isUpperBound"]) == (False, True)
    delivered = done(cli, "export", campaign, "entries")
    after = done(cli, "plan", campaign, "entries")
    assert after["pastExports"] == 1
    assert after["seconds"] == pytest.approx(delivered["seconds"], abs=0.1)
    assert after["bucket"] == delivered["bucket"]
    start, end = after["key"].split("{moment}")
    assert delivered["key"].startswith(start)
    assert end == "-{exportId}.csv"
    reads = {use["collection"]: use for use in after["reads"]}
    assert "campaign_id" in reads["entries"]["index"], "the embedded server has the compound index"
    assert all(use["isThere"] for use in reads.values())
    database["markets"].drop_indexes()
    assert "missing: all is read" in cli.run("plan", campaign, "entries").stdout
    assert len(done(cli, "exports", "list")) == 1


@pytest.mark.parametrize("spec", all_specs(), ids=lambda spec: spec.type)
def test_every_type_has_a_plan(cli: Cli, campaign: str, spec: Any) -> None:
    assert done(cli, "plan", campaign, spec.type)["key"].endswith(spec.extension)


def test_a_shell_is_offered_types_campaigns_and_exports(
    cli: Cli, campaign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offered(complete: Any, incomplete: str) -> list[str]:
        return [item.value for item in complete(None, None, incomplete)]

    assert offered(completion.types, "code") == ["codes", "codeAssignments", "codeWaves"]
    for name, value in cli.environment.items():
        monkeypatch.setenv(name, value)
    delivered = done(cli, "export", campaign, "codes")
    assert offered(completion.campaigns, campaign[:6]) == [campaign]
    assert offered(completion.exports, "") == [delivered["exportId"]]
    assert offered(completion.campaigns, "x") == []
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://127.0.0.1:1")
    assert offered(completion.campaigns, "") == []


def test_commands_are_offered_without_being_imported(cli: Cli) -> None:
    environment = {"_VFEXPORT_COMPLETE": "bash_complete", "COMP_WORDS": "vfexport ex", "COMP_CWORD": "1"}
    with cli.process(**environment) as shell:
        assert shell.end() == 0
    assert shell.stdout.split() == ["plain,export", "plain,exports"]
