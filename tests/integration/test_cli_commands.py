"""The commands besides `export`."""

from __future__ import annotations

import http.client
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.api_client import wait_for
from tests.cli_helpers import Cli, error_of
from vfexport_core.embedded.demo.children import answers
from vfexport_core.embedded.process import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database


@pytest.fixture
def cli(settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(settings_environment, tmp_path)


def test_init_says_what_it_did_and_does_it_once(cli: Cli, database: Database[dict[str, Any]]) -> None:
    first, second = (json.loads(cli.run("init", "--json").stdout) for _ in range(2))
    assert first["database"] == database.name
    assert "one_triggered" in first["indexesCreated"]
    assert first["indexesKept"] == []
    assert (second["indexesCreated"], second["indexesKept"]) == ([], first["indexesCreated"])
    indexes = {name: set(database[name].index_information()) - {"_id_"} for name in database.list_collection_names()}
    made = {name: names for name, names in indexes.items() if names}
    assert len(made) > 1
    told = {name: set(({"exports": first} | first)[name]["indexesCreated"]) for name in made}
    assert told == made
    lines = cli.run("init").stdout.splitlines()
    assert f"{database.name}.exports: index one_triggered was there" in lines
    assert f"{database.name}.ccpaDeletions: validator set" in lines
    assert {line.partition(": ")[0] for line in lines} == {f"{database.name}.{name}" for name in made}


def test_init_tells_what_is_in_its_way(cli: Cli, database: Database[dict[str, Any]]) -> None:
    database["exports"].create_index([("status", 1)], name="one_triggered")
    result = cli.run("init", "--json")
    assert (error_of(result.stderr)["code"], result.exit_code) == ("InitialisationFailed", 1)


def test_seed_prints_the_id_that_export_takes(cli: Cli) -> None:
    seeded = cli.run("seed", "--entries", "20")
    assert seeded.exit_code == 0
    exported = cli.run("export", seeded.stdout.strip(), "entries", "--output", "-", "--json")
    assert json.loads(exported.stderr)["rows"] == 20
    assert cli.run("seed", "--entries", "20").exit_code == 1


def test_the_api_is_served_until_it_is_interrupted(cli: Cli) -> None:
    port = free_port()
    with cli.process("api", "--port", str(port)) as command:
        wait_for(lambda: answers(port, "/heartbeat"), seconds=60)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/docs")
        assert connection.getresponse().status == http.HTTPStatus.OK
        connection.close()
        command.child.send_signal(signal.SIGINT)
        assert command.end() == 0  # this is how serving ends
    assert "Traceback" not in command.stderr


def test_the_api_is_refused_without_settings(cli: Cli) -> None:
    del cli.environment["VFEXPORT_MONGO_URI"]
    result = cli.run("api", "--port", "1")
    assert result.exit_code == 1
    assert "VFEXPORT_MONGO_URI" in result.stderr
