"""`vfexport export --output`: the same bytes wherever they go, needing MongoDB alone."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli_helpers import COMMAND, Cli, error_of, load
from vfexport_core.catalog import all_specs
from vfexport_core.embedded.environment import s3_client
from vfexport_core.embedded.process import free_port
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer, S3Server


@pytest.fixture
def cli(settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)  # no .env of a developer is read
    return Cli(settings_environment, tmp_path)


@pytest.fixture
def mongo_only(
    mongo_server: MongoServer, database: Database[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Cli:
    monkeypatch.chdir(tmp_path)
    names = {"MONGO_URI": mongo_server.uri, "MONGO_DATABASE": database.name, "LOOKUP_BATCH": "100"}
    return Cli({f"VFEXPORT_{name}": value for name, value in names.items()}, tmp_path)


def test_file_stdout_and_s3_get_the_same_bytes(
    cli: Cli, s3_server: S3Server, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    campaign = load(database)
    to_file = cli.run("export", campaign, "entries", "--all-markets", "--output", "out.csv", "--json")
    to_stdout = cli.run("export", campaign, "entries", "--all-markets", "--output", "-", "--json")
    assert database["exports"].count_documents({}) == 0
    initialise(database)
    to_s3 = cli.run("export", campaign, "entries", "--all-markets", "--json")
    assert (to_file.exit_code, to_stdout.exit_code, to_s3.exit_code) == (0, 0, 0), to_s3.stderr

    content = (tmp_path / "out.csv").read_bytes()
    assert to_stdout.stdout_bytes == content
    delivered = json.loads(to_s3.stdout)
    assert _read(s3_server, delivered["bucket"], delivered["key"]) == content

    summary = json.loads(to_file.stdout)
    assert summary["output"] == "out.csv"
    for figures in (summary, json.loads(to_stdout.stderr), delivered):
        assert figures["bytes"] == len(content)
        assert figures["sha256"] == hashlib.sha256(content).hexdigest()
        assert figures["rows"] == summary["rows"] > 200
        assert figures["seconds"] >= 0
    assert (to_file.stderr, to_s3.stderr) == ("", "")


@pytest.mark.parametrize("spec", all_specs(), ids=lambda spec: spec.type)
def test_every_type_can_be_written_to_a_file(mongo_only: Cli, database: Database[dict[str, Any]], spec: Any) -> None:
    campaign = load(database, 30)
    wave = database["codes"].find_one({"dateKey": {"$exists": True}}) or {"dateKey": "1"}
    date_key = ["--date-key", wave["dateKey"]] if spec.needs_date_key else []
    result = mongo_only.run("export", campaign, spec.type, *date_key, "--output", "out", "--json")
    assert result.exit_code == 0, result.stderr
    content = (mongo_only.folder / "out").read_bytes()
    assert json.loads(result.stdout)["sha256"] == hashlib.sha256(content).hexdigest()
    assert content


def test_people_get_lines_on_stderr_and_nothing_on_stdout(mongo_only: Cli, database: Database[dict[str, Any]]) -> None:
    result = mongo_only.run("export", load(database, 20), "scoring", "--output", "out.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    words = {line.split()[0]: line.split()[1] for line in result.stderr.splitlines()}
    assert words["output"] == "out.csv"
    assert words["rows"] == "20"
    assert words["SHA-256"] == hashlib.sha256((mongo_only.folder / "out.csv").read_bytes()).hexdigest()


def test_a_reader_that_goes_away_ends_it_quietly(mongo_only: Cli, database: Database[dict[str, Any]]) -> None:
    """As `| head` does, with a pipe so small that the rows cannot all be in it already."""
    campaign = load(database)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    command = [*COMMAND, "export", campaign, "entries", "--output", "-", "--json"]
    environment = {**os.environ, **mongo_only.environment}
    with subprocess.Popen(
        command, stdout=writer, stderr=subprocess.PIPE, cwd=mongo_only.folder, env=environment
    ) as child:
        os.close(writer)
        with os.fdopen(reader, "rb") as rows:
            assert rows.readline().startswith(b"id,contest_title,")
        assert child.communicate()[1] == b""
    assert child.returncode == 141


def test_a_failure_leaves_no_file(mongo_only: Cli, database: Database[dict[str, Any]]) -> None:
    campaign = load(database, 5)
    database["markets"].delete_many({})
    result = mongo_only.run("export", campaign, "entries", "--output", "out.csv", "--json")
    assert result.exit_code == 1
    assert error_of(result.stderr)["code"] == "NoMarketsFound"
    assert list(mongo_only.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (["65f000000000000000000001", "entries"], "CampaignNotFound", 1),
        (["nonsense", "entries"], "CampaignNotFound", 1),
        (["65f000000000000000000001", "nonsense"], "InvalidExportType", 2),
        (["65f000000000000000000001", "codeWaves"], "MissingDateKey", 2),
        (["65f000000000000000000001", "codeWaves", "--date-key", "tomorrow"], "InvalidDateKey", 2),
        (["65f000000000000000000001"], "WrongUsage", 2),
        (["65f000000000000000000001", "scoring", "--all-markets"], "WrongUsage", 2),
        (["65f000000000000000000001", "reminderEmail", "--output", "x.csv"], "WrongUsage", 2),
        (["65f000000000000000000001", "entries", "--output", "x.ZIP"], "WrongUsage", 2),
    ],
)
def test_what_was_asked_for_wrongly(mongo_only: Cli, arguments: list[str], code: str, status: int) -> None:
    output = [] if "--output" in arguments else ["--output", "-"]
    result = mongo_only.run("export", *arguments, *output, "--json")
    assert (error_of(result.stderr)["code"], result.exit_code) == (code, status)
    assert result.stdout == ""


def test_mongodb_that_does_not_answer_is_a_passing_fault(mongo_only: Cli) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/"
    result = mongo_only.run("export", "65f000000000000000000001", "entries", "--output", "-", VFEXPORT_MONGO_URI=uri)
    assert result.exit_code == 3
    assert result.stderr.startswith("SourceUnavailable: MongoDB failed on collection campaigns (find)")
    assert result.stderr.count("\n") == 1


def test_a_missing_setting_is_named(mongo_only: Cli) -> None:
    del mongo_only.environment["VFEXPORT_MONGO_URI"]
    result = mongo_only.run("export", "65f000000000000000000001", "entries", "--output", "-")
    assert result.exit_code == 1
    assert "VFEXPORT_MONGO_URI" in result.stderr


def _read(s3_server: S3Server, bucket: str, key: str) -> bytes:
    with closing(s3_client(s3_server)) as client, client.get_object(Bucket=bucket, Key=key)["Body"] as body:
        return body.read()
