"""Nothing that the indexes have to hold is done on a database that `vfexport init` has not set up."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from tests.api_client import insert_campaign, running_api
from tests.cli_helpers import Cli, error_of, load
from tests.commands import Commands
from tests.integration.queue_helpers import DELIVERED, new_export
from vfexport_core.errors import NotInitialized
from vfexport_core.mongo.own_collections import CONTROL, DELETIONS, EXPORTS
from vfexport_core.queue import schema
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import OWNED, SCHEMA_VERSION, check_initialised, initialise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer
    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

USER = "0123456789abcdef01234567"


def test_without_init_equal_requests_make_no_export_and_with_it_one(settings: Settings, database: Documents) -> None:
    campaign = insert_campaign(database)
    with running_api(settings, ready_seconds=60) as api, ThreadPoolExecutor(6) as pool:
        token = api.token(campaign)

        def ask(_: int) -> Any:
            return api.post(f"/campaigns/{campaign}/exports", token=token, json={"exportType": "entries"})

        answers = list(pool.map(ask, range(12)))
        assert {answer.status_code for answer in answers} == {503}
        error = answers[0].json()["error"]
        assert (error["code"], "vfexport init" in error["message"]) == ("NotInitialized", True)
        assert database[EXPORTS].count_documents({}) == 0
        ready = api.get("/ready")
        assert (ready.status_code, ready.json()["error"]["payload"]) == (503, "schema")
        assert "vfexport init" in ready.json()["error"]["message"]

        initialise(database)
        assert sorted(answer.status_code for answer in pool.map(ask, range(12))) == [200] * 11 + [202]
        assert database[EXPORTS].count_documents({}) == 1
        database.drop_collection(CONTROL)  # it is looked at once
        assert ask(0).status_code == 200


def test_a_deletion_is_not_begun_without_init(settings: Settings, database: Documents) -> None:
    settings = settings.model_copy(update={"ccpa_hash_key": settings.mongo_uri})
    with running_api(settings) as api:
        answer = api.call("DELETE", f"/ccpa/users/{USER}", token=api.token(supreme=True))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "NotInitialized")
    assert database[DELETIONS].count_documents({}) == 0


def test_the_command_line_says_what_to_do(
    settings_environment: dict[str, str], database: Documents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli, campaign = Cli(settings_environment, tmp_path), load(database, 5)
    result = cli.run("export", campaign, "entries", "--json")
    error = error_of(result.stderr)
    assert (result.exit_code, error["code"]) == (3, "NotInitialized")
    assert "vfexport init" in error["message"]
    assert cli.run("init").exit_code == 0
    assert cli.run("export", campaign, "entries").exit_code == 0


DAMAGE: dict[str, Callable[[Documents], object]] = {
    "the unique index": lambda database: database[EXPORTS].drop_index("one_triggered"),
    "an index of deletions": lambda database: database[DELETIONS].drop_indexes(),
    "the validator": lambda database: database.command("collMod", EXPORTS, validator={}),
    "the record": lambda database: database.drop_collection(CONTROL),
    "the collection": lambda database: database.drop_collection(EXPORTS),
    "the time since": lambda database: database[CONTROL].update_one({}, {"$set": {"version": SCHEMA_VERSION - 1}}),
    "the version": lambda database: database[CONTROL].update_one(
        {}, {"$set": {"version": SCHEMA_VERSION + 2, "oldest": SCHEMA_VERSION + 1}}
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_whatever_is_missing_nothing_is_claimed(settings: Settings, database: Documents, damage: str) -> None:
    initialise(database)
    export, _ = ExportRepository(database).request(new_export())
    held, _ = ExportRepository(database).claim(export.id, "run-0")
    failed = ExportRepository(database).claimed(held).fail({"code": "c", "message": "m", "payload": None})
    DAMAGE[damage](database)
    backend = Backend(settings, database=database)
    for use in (
        lambda: backend.queue.request(new_export()),
        lambda: backend.queue.claim(failed.id, "run-1"),
        lambda: backend.queue.claim_again(failed.id, "run-1", 1),
        lambda: backend.queue.retry(failed.id),
    ):
        with pytest.raises(NotInitialized):
            use()
    documents = [] if damage == "the collection" else [failed]
    assert ExportRepository(database).list() == documents


def test_the_version_before_works_on_the_schema_of_the_next_one(settings: Settings, database: Documents) -> None:
    """Its processes go on, start and are rolled back to while and after the next version's `init` has run."""
    initialise(database)
    properties = schema.VALIDATOR["$jsonSchema"]["properties"] | {"ofTheNext": {"bsonType": "int"}}
    validator = {"$jsonSchema": schema.VALIDATOR["$jsonSchema"] | {"properties": properties}}
    database.command("collMod", EXPORTS, validator=validator)
    database[EXPORTS].create_index("ofTheNext", name="of_the_next")
    database[CONTROL].update_one({}, {"$set": {"version": SCHEMA_VERSION + 1}})
    queue = Backend(settings, database=database).queue
    export, _ = queue.request(new_export())
    queue.claimed(queue.claim(export.id, "run-1")[0]).finish(DELIVERED)
    initialise(database)
    assert database[EXPORTS].options()["validator"] == validator
    assert database[CONTROL].find_one({})["version"] == SCHEMA_VERSION + 1
    database[EXPORTS].drop_index("one_triggered")
    with pytest.raises(NotInitialized, match="one_triggered"):
        check_initialised(database)


def test_who_looks_while_it_is_set_up_sees_all_of_it_or_nothing(database: Documents) -> None:
    def look(_: int) -> bool:
        began = time.monotonic()
        try:
            check_initialised(database)
        except NotInitialized:
            refused.append(began)
            return False
        accepted.append(time.monotonic())
        assert {index.document["name"] for index in schema.INDEXES} <= set(database[EXPORTS].index_information())
        assert database[EXPORTS].options()["validator"] == schema.VALIDATOR
        return True

    accepted: list[float] = []  # when a look ended that saw it set up
    refused: list[float] = []  # when one began that did not
    with ThreadPoolExecutor(8) as pool:
        setting_up = [pool.submit(initialise, database) for _ in range(3)]
        list(pool.map(look, range(20)))
        for done in setting_up:
            done.result()
    assert all(began < seen for seen in accepted for began in refused), "once it is set up it stays so"
    assert look(0)


def test_it_is_looked_at_once(settings: Settings, database: Documents, mongo_server: MongoServer) -> None:
    initialise(database)
    commands = Commands()
    with MongoClient[dict[str, Any]](mongo_server.uri, event_listeners=[commands]) as client:
        queue = Backend(settings, database=client[database.name]).queue
        for _ in range(3):
            queue.request(new_export())
    assert commands.names.count("listIndexes") == len(OWNED)
    assert commands.names.count("listCollections") == 1
