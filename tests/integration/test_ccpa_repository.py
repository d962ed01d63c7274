"""The record of deletions: what the service asks of it is answered by an index, and nothing slips between two looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from tests.builders import object_id
from tests.ccpa import Service
from vfexport_core.ccpa.hashing import UserHasher
from vfexport_core.ccpa.records import ObjectName
from vfexport_core.errors import DeleteFailed
from vfexport_core.queue.statistics.depth import read_depth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer

RECORDS = "ccpaDeletions"


class Listener(CommandListener):
    """Keeps what every command looks for in the record; `then` is called once, when a query has been answered."""

    def __init__(self) -> None:
        self.queries: list[dict[str, Any]] = []
        self.then: Any = None

    def started(self, event: Any) -> None:
        command = event.command
        if command.get(event.command_name) != RECORDS or event.command_name == "explain":
            return
        self.queries += [dict(update["q"]) for update in command.get("updates", [])]
        self.queries += [dict(command[name]) for name in ("filter", "query") if name in command]
        self.queries += [dict(stage["$match"]) for stage in command.get("pipeline", []) if "$match" in stage]

    def succeeded(self, event: Any) -> None:
        then = self.then
        if event.command_name == "find" and then and f".{RECORDS}" in event.reply["cursor"]["ns"]:
            self.then = None
            then()

    def failed(self, event: Any) -> None:
        pass


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def heard(service: Service, mongo_server: MongoServer, listener: Listener) -> Iterator[Service]:
    """The same service, by a client that is listened to."""
    with MongoClient[dict[str, Any]](mongo_server.uri, event_listeners=[listener]) as client:
        yield Service(service.settings, client[service.database.name], service.buckets)


def plan(database: Database[dict[str, Any]], query: dict[str, Any]) -> str:
    """Explain a query, less what only narrows it: the embedded server uses an index for comparisons alone."""
    compared = {name: value for name, value in query.items() if value != {"$exists": False}}
    return str(database[RECORDS].find(compared).explain()["queryPlanner"]["winningPlan"])


def test_every_query_is_answered_by_an_index(service: Service, heard: Service, listener: Listener) -> None:
    campaign = service.add_campaign(1)
    service.exported(campaign)
    waiting = heard.request(campaign)
    heard.delete("nobody")
    service.store.claimed(service.store.claim(service.request(campaign, "codes").id, "run-1")[0]).note_keys(
        "gone", ["k"]
    )
    with pytest.raises(DeleteFailed):
        heard.delete()
    heard.heal_now()
    heard.resume()
    assert not heard.deletions.somebody_is_at_work()
    heard.run(waiting)
    read_depth(heard.database)
    asked = {str(query): query for query in listener.queries}
    by_identity = [query for query in asked.values() if "_id" in query]
    others = [query for query in asked.values() if "_id" not in query]
    assert len(by_identity) >= 3
    assert {tuple(query) for query in others} >= {
        ("status",),
        ("userHash", "keyCheck", "joinable"),
        ("campaigns", "date.completed"),
        ("date.completed",),
    }
    for query in others:
        assert "IXSCAN" in plan(service.database, query), query


def test_a_deletion_that_completes_between_two_looks_is_respected(
    service: Service, heard: Service, listener: Listener
) -> None:
    campaign = service.add_campaign(1)
    export = service.request(campaign)
    hasher = UserHasher.from_settings(service.settings)
    record = service.deletions.begin(service.open_record())
    assert record is not None
    service.deletions.set_campaigns(record, [campaign])
    completed: list[bool] = []
    listener.then = lambda: completed.append(service.deletions.complete(record).is_complete)
    (respected,) = heard.deletions.respected_by(campaign, export.date.created)
    assert (respected.user_hash, respected.key_check) == (record.user_hash, hasher.key_check)
    assert completed == [True]
    assert heard.deletions.respected_by(campaign, export.date.created) == [respected]
    assert heard.deletions.respected_by("f" * 24, export.date.created) == []


def test_what_two_workers_note_is_noted_once(service: Service) -> None:
    """Also by one that does not know whether it has done it, and by one whose record is older than the counter."""
    record = service.deletions.begin(service.open_record())
    assert record is not None
    first, second, third = (ObjectName("b", key) for key in ("one", "two", "three"))
    export_id = str(object_id(1))
    service.deletions.note(record, [first, second], [export_id])
    mine = service.deletions.note(record, [second, third], [export_id])
    mine = service.deletions.note(mine, [first, third], [export_id])
    service.database[RECORDS].update_one({}, {"$unset": {"notes": ""}})
    mine = service.deletions.note(service.deletions.get(mine.id), [first], [str(object_id(2))])
    service.deletions.note(mine, [first, second, third], [])
    stored = service.record()
    assert [entry["key"] for entry in stored["keys"]] == ["one", "two", "three"]
    assert stored["exports"] == [object_id(1), object_id(2)]
    done = service.deletions.complete(mine)
    assert (done.deleted_exports, done.deleted_files) == (2, 3)
