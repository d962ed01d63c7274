"""MongoDB fails in the middle of an export: the file is the same, nothing is lost and nothing comes twice.

A run without faults says which commands there are; then each of them fails once, or the connection breaks under it. The
driver's own retries are off, so that every fault reaches our code.
"""

from __future__ import annotations

import io
import itertools
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from tests.delivered import Run, load, make_export
from tests.faults.failing import APP, FailPoint
from tests.golden.campaign import BUNDLE
from tests.pipeline import Exported, run_pipeline
from vfexport_core.catalog import all_specs, find_spec
from vfexport_core.catalog.collections import Collection
from vfexport_core.catalog.contact import USER_ID
from vfexport_core.catalog.expressions import Column
from vfexport_core.embedded.synthetic import DATE_KEYS, seed_campaign
from vfexport_core.errors import SourceMissing, SourceUnavailable
from vfexport_core.mongo.retry import ATTEMPTS
from vfexport_core.pipeline.counting import count_rows
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.run import write_rows
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer
    from vfexport_core.settings import Settings

ENTRIES = 150
BATCH = 30
MOST = 3  # occurrences of a command that fail one after the other
COMPOUND = "_id.campaign_id_1__id.user_id_1"
READS = {"aggregate", "find", "getMore", "listIndexes", "listCollections"}
FAULTS: dict[str, dict[str, Any]] = {
    "connection closed": {"closeConnection": True},
    "shutting down": {"errorCode": 11600},
    "cursor lost": {"errorCode": 43},
    "stepped down": {"errorCode": 189},
}
# Scans of entries, of scoring (ZIP, waves) and of codes; look-ups of users, entries and scoring; promoters.
TYPES = ("entries", "verifiedEntries", "promoterEmailOptIn", "reminderEmail", "waitlist", "codeAssignments")


Command = tuple[str, str]


@dataclass
class Saboteur(FailPoint):
    """Notes the reads, and tells the server to fail a chosen one right before it is sent.

    With `every` each such occurrence of a command fails: 2 is every other one.
    """

    fault: dict[str, Any] = field(default_factory=dict)
    command: Command = ("", "")
    occurrence: int = 0
    every: int = 0
    seen: list[Command] = field(default_factory=list)
    hints: list[Any] = field(default_factory=list)
    """The index that each aggregation was told to use."""

    def begin(self, command: Command, fault: dict[str, Any], *, occurrence: int = 0, every: int = 0) -> None:
        self.seen.clear()
        self.hints.clear()
        self.command, self.fault, self.occurrence, self.every = command, fault, occurrence, every

    def started(self, event: Any) -> None:
        if event.command_name not in READS:
            return
        name = event.command.get("collection", event.command.get(event.command_name))
        if event.command_name == "listCollections":
            name = event.command["filter"]["name"]
        self.seen.append((event.command_name, str(name)))
        if event.command_name == "aggregate":
            self.hints.append((name, event.command.get("hint")))
        if self.seen[-1] == self.command:
            number = self.seen.count(self.command)
            if number == self.occurrence or (self.every and number % self.every == 0):
                self.set({"times": 1}, [event.command_name], self.fault)


@pytest.fixture
def saboteur(mongo_client: MongoClient[Any]) -> Iterator[Saboteur]:
    saboteur = Saboteur(mongo_client)
    yield saboteur
    saboteur.heal()


@pytest.fixture
def shaky(
    mongo_server: MongoServer, database: Database[Any], saboteur: Saboteur, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database[Any]]:
    """The test's database through a client under which commands fail."""
    monkeypatch.setattr("vfexport_core.mongo.retry._FIRST_WAIT_SECONDS", 0.001)
    # After some errors the driver waits until it has heard of the server again: it asks often, and does not wait long.
    monitoring = {"serverMonitoringMode": "poll", "heartbeatFrequencyMS": 500}
    monkeypatch.setattr("pymongo.common.MIN_HEARTBEAT_INTERVAL", 0.02)
    options: dict[str, Any] = {"appname": APP, "retryReads": False, "event_listeners": [saboteur], **monitoring}
    with MongoClient[Any](mongo_server.uri, **options) as client:
        yield client[database.name]


@pytest.fixture
def campaign_id(database: Database[Any]) -> str:
    return seed_campaign(database, entries=ENTRIES, dirty_share=0.01)


@contextmanager
def index_style(database: Database[Any], style: str) -> Iterator[None]:
    if style == "default index":
        database["entries"].drop_index(COMPOUND)
    yield


def exported(
    database: Database[Any], campaign_id: str, export_type: str, settings: Settings, **options: Any
) -> Exported:
    date_key = DATE_KEYS[0] if find_spec(export_type).needs_date_key else None
    batch = BATCH if find_spec(export_type).scan.collection is Collection.ENTRIES else BATCH // 6
    options = {
        "batch_documents": batch,
        "reply_batches": 1,
        "include_all_markets": True,
        "date_key": date_key,
    } | options
    return run_pipeline(database, campaign_id, export_type, settings, **options)


def ids(database: Database[Any], campaign_id: str, settings: Settings, batch_documents: int) -> list[bytes]:
    """Export the user ids only: no look-up runs beside the scan, so that every fault hits the scan."""
    bare = replace(find_spec("entries"), lookups=(), expansion=None, columns=(Column("id", USER_ID),))
    out = io.BytesIO()
    campaign = find_campaign(database, campaign_id)
    plan = ExportPlan.load(bare, campaign, database, settings, batch_documents=batch_documents, reply_batches=1)
    write_rows(ExportPipeline(plan, database), out, lambda *_: None)
    return out.getvalue().splitlines()[1:]


@pytest.mark.parametrize(
    ("export_type", "style"),
    [
        *((export_type, "compound index") for export_type in TYPES),
        # The style matters to scans of entries (look-ups of whole ids are slow on the embedded server).
        ("entries", "default index"),
        ("verifiedEntries", "default index"),
    ],
)
def test_any_read_may_fail_once(
    database: Database[Any],
    shaky: Database[Any],
    settings: Settings,
    campaign_id: str,
    saboteur: Saboteur,
    *,
    export_type: str,
    style: str,
):
    settings = settings.model_copy(update={"max_rows_per_file": 40})
    with index_style(database, style):
        wanted = exported(shaky, campaign_id, export_type, settings)
        sent = len(saboteur.seen)
        # The campaign itself is read once for whoever waits; a run asks for it with more patience.
        commands = Counter(command for command in saboteur.seen if command != ("find", "campaigns"))
        assert commands["getMore", collection_of(export_type)] > 2, "the scan takes several batches"
        kinds = itertools.cycle(FAULTS.values())
        for command, count in commands.items():
            for occurrence in range(1, min(count, MOST) + 1):
                saboteur.begin(command, next(kinds), occurrence=occurrence)
                assert exported(shaky, campaign_id, export_type, settings) == wanted, (command, occurrence)
                assert len(saboteur.seen) > sent, "what failed was sent again"


@pytest.mark.parametrize(
    ("export_type", "index"),
    [("codes", "campaignId_1__id_1"), ("waitlist", "campaignId_1__id_1"), ("codes", None), ("entries", None)],
)
def test_a_scan_that_goes_on_stays_on_the_index_of_its_campaign(
    database: Database[Any],
    shaky: Database[Any],
    settings: Settings,
    campaign_id: str,
    saboteur: Saboteur,
    *,
    export_type: str,
    index: str | None,
):
    """Its condition on `_id` would let MongoDB choose that index, and read on behind the campaign."""
    scanned = collection_of(export_type)
    if index is None and export_type == "codes":
        database["codes"].drop_indexes()
    wanted = exported(shaky, campaign_id, export_type, settings)
    saboteur.begin(("getMore", scanned), {"errorCode": 43}, occurrence=1)
    assert exported(shaky, campaign_id, export_type, settings) == wanted
    assert [hint for name, hint in saboteur.hints if name == scanned] == [None, index]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_every_other_read_may_fail(
    shaky: Database[Any], settings: Settings, campaign_id: str, saboteur: Saboteur, fault: dict[str, Any]
):
    """More failures than there is patience for in a row: the batch that comes with each new query renews it."""
    wanted = ids(shaky, campaign_id, settings, 20)
    saboteur.begin(("getMore", "entries"), fault, every=1)
    assert ids(shaky, campaign_id, settings, 20) == wanted
    assert saboteur.seen.count(("aggregate", "entries")) >= ENTRIES // 20 > ATTEMPTS


@pytest.mark.parametrize("style", ["compound index", "default index"])
def test_ids_of_any_type_are_resumed_at(
    database: Database[Any], shaky: Database[Any], settings: Settings, saboteur: Saboteur, style: str
):
    """User ids that are no strings: each is passed once, wherever the scan breaks."""
    campaign_id = load(database, BUNDLE)
    odd = [1, 2.5, None, ObjectId(), True, {"a": 1}, "", "zz"]
    database["entries"].insert_many({"_id": {"campaign_id": campaign_id, "user_id": value}} for value in odd)
    with index_style(database, style):
        wanted = ids(shaky, campaign_id, settings, 1)
        assert len(wanted) == 12 + len(odd)
        batches = saboteur.seen.count(("getMore", "entries"))
        assert batches >= len(wanted) // 2, "the driver takes a batch size of 1 for 2, but for the first batch"
        for occurrence in range(1, batches + 1):
            saboteur.begin(("getMore", "entries"), {"errorCode": 43}, occurrence=occurrence)
            assert ids(shaky, campaign_id, settings, 1) == wanted, occurrence
            assert saboteur.seen.count(("aggregate", "entries")) == 2


@pytest.mark.parametrize(
    ("export_type", "command", "collection"),
    [
        ("entries", "aggregate", "users"),
        ("waitlist", "find", "smsWaves"),
        ("entries", "aggregate", "entries"),
        ("reminderEmail", "aggregate", "scoring"),
        ("codes", "aggregate", "codes"),
        ("entries", "find", "markets"),
        ("entries", "listIndexes", "entries"),
        ("entries", "listCollections", "entries"),
    ],
)
@pytest.mark.parametrize("fault", [{"closeConnection": True}, {"errorCode": 11600}], ids=["closed", "shutting down"])
def test_a_lasting_outage_names_the_collection(
    shaky: Database[Any],
    settings: Settings,
    campaign_id: str,
    saboteur: Saboteur,
    *,
    export_type: str,
    command: str,
    collection: str,
    fault: dict[str, Any],
):
    saboteur.begin((command, collection), fault, every=1)
    with pytest.raises(SourceUnavailable, match=f"collection {collection}") as caught:
        exported(shaky, campaign_id, export_type, settings)
    assert caught.value.payload == collection
    tries = saboteur.seen.count((command, collection))
    assert tries >= ATTEMPTS if collection == "users" else tries == ATTEMPTS, "look-ups run side by side"


def test_what_is_not_permitted_is_not_tried_again(
    shaky: Database[Any], settings: Settings, campaign_id: str, saboteur: Saboteur
):
    saboteur.begin(("aggregate", "entries"), {"errorCode": 13}, occurrence=1)
    with pytest.raises(SourceUnavailable, match="collection entries"):
        exported(shaky, campaign_id, "entries", settings)
    assert saboteur.seen.count(("aggregate", "entries")) == 1


def test_a_run_has_patience_with_its_campaign(
    shaky: Database[Any], settings: Settings, campaign_id: str, saboteur: Saboteur
):
    export = make_export(shaky, campaign_id, "entries")
    saboteur.begin(("find", "campaigns"), {"closeConnection": True}, occurrence=1)
    assert Run(shaky, settings)(export).rows > ENTRIES // 2
    assert saboteur.seen.count(("find", "campaigns")) == 2


@pytest.mark.parametrize(
    ("export_type", "collection"), [("entries", "entries"), ("waitlist", "scoring"), ("codes", "codes")]
)
def test_a_collection_that_is_not_there_is_an_error_and_no_empty_file(
    database: Database[Any], settings: Settings, campaign_id: str, export_type: str, collection: str
):
    database.drop_collection(collection)
    with pytest.raises(SourceMissing, match=f"collection {collection}") as caught:
        exported(database, campaign_id, export_type, settings)
    assert (caught.value.code, caught.value.payload) == ("SourceUnavailable", collection)
    with pytest.raises(SourceMissing):
        count_rows(find_spec(export_type), campaign_id, database, settings)


def test_the_bytes_do_not_depend_on_the_size_of_batches(database: Database[Any], settings: Settings, campaign_id: str):
    settings = settings.model_copy(update={"max_rows_per_file": 40})
    for spec in all_specs():
        wanted = exported(database, campaign_id, spec.type, settings, batch_documents=4_000)
        for size, lookup_batch in ((7, 100), (130, 3)):
            other = settings.model_copy(update={"lookup_batch": lookup_batch})
            assert exported(database, campaign_id, spec.type, other, batch_documents=size) == wanted, (spec.type, size)


def collection_of(export_type: str) -> str:
    return {"reminderEmail": "scoring", "waitlist": "scoring", "codeAssignments": "codes", "codes": "codes"}.get(
        export_type, "entries"
    )
