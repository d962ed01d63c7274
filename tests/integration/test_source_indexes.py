"""Which indexes exports need on the collections of others, and what `vfexport init --check-sources` says of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import IndexModel

from tests.cli_helpers import Cli, error_of
from vfexport_core.catalog import all_specs, find_spec
from vfexport_core.catalog.collections import Collection
from vfexport_core.embedded.process import free_port
from vfexport_core.embedded.synthetic.indexes import SOURCE_INDEXES, create_source_indexes
from vfexport_core.sources.needed_indexes import missing_source_indexes, needed_indexes
from vfexport_core.sources.ranges import CampaignRange, EntryRange, entries_are_dotted, range_of

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

CAMPAIGN = "0" * 24
SOURCES = ("campaigns", "markets", "users", "entries", "scoring", "codes", "smsWaves")
EXPECTED_BY_SPECIFICATION = {
    ("codes", ("campaignId", "_id")),
    ("markets", ("campaignId",)),
    ("scoring", ("campaignId", "_id")),
    ("scoring", ("campaignId", "userId")),
    ("smsWaves", ("campaignId", "status")),
}


@pytest.fixture
def sources(database: Database[dict[str, Any]]) -> Database[dict[str, Any]]:
    """Return a database in which every source collection exists, with no index but the default one."""
    for name in SOURCES:
        database.create_collection(name)
    return database


@pytest.fixture
def cli(settings_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(settings_environment, tmp_path)


def missing(database: Database[dict[str, Any]]) -> set[tuple[str, tuple[str, ...]]]:
    return {(item.index.collection, item.index.keys) for item in missing_source_indexes(database, all_specs())}


def test_the_catalog_needs_what_the_specification_lists() -> None:
    needed = {(index.collection, index.keys) for index in needed_indexes(all_specs())}
    assert {(name, keys) for name, keys in needed if keys != ("_id",)} == EXPECTED_BY_SPECIFICATION
    assert {name for name, _ in needed} == set(SOURCES)


def test_a_need_names_the_types_that_have_it() -> None:
    types = {(index.collection, index.keys): index.types for index in needed_indexes(all_specs())}
    assert types["smsWaves", ("campaignId", "status")] == ("waitlist",)
    assert types["scoring", ("campaignId", "userId")] == ("verifiedEntries",)
    assert types["codes", ("campaignId", "_id")] == ("codes", "codeAssignments", "codeWaves")
    assert len(types["markets", ("campaignId",)]) == len(all_specs())


def test_the_types_asked_for_are_those_looked_at(sources: Database[dict[str, Any]]) -> None:
    found = missing_source_indexes(sources, [find_spec("entries")])
    assert [(item.index.collection, item.index.keys) for item in found] == [("markets", ("campaignId",))]


def test_nothing_is_missing_where_seed_has_been(sources: Database[dict[str, Any]]) -> None:
    create_source_indexes(sources)
    assert missing_source_indexes(sources, all_specs()) == []


def test_every_needed_index_is_missed_without_it(sources: Database[dict[str, Any]]) -> None:
    assert missing(sources) == EXPECTED_BY_SPECIFICATION
    create_source_indexes(sources)
    for collection, keys in sorted(EXPECTED_BY_SPECIFICATION):
        sources[collection].drop_index([(key, 1) for key in keys])
        assert missing(sources) == {(collection, keys)}
        sources[collection].create_index([(key, 1) for key in keys])


def test_an_index_that_begins_with_the_keys_counts(sources: Database[dict[str, Any]]) -> None:
    sources["smsWaves"].create_index([("campaignId", 1), ("status", -1), ("dateKey", 1)])
    sources["markets"].create_index([("campaignId", -1), ("name", 1)])
    assert missing(sources) == EXPECTED_BY_SPECIFICATION - {
        ("smsWaves", ("campaignId", "status")),
        ("markets", ("campaignId",)),
    }


@pytest.mark.parametrize(
    "index",
    [
        IndexModel([("status", 1), ("campaignId", 1)]),
        IndexModel([("campaignId", 1)]),
        IndexModel([("campaignId", 1), ("dateKey", 1), ("status", 1)]),
        IndexModel([("campaignId", 1), ("status", 1)], partialFilterExpression={"dateKey": {"$gt": "5"}}),
    ],
    ids=["other order", "too short", "another key between", "partial"],
)
def test_an_index_that_does_not_serve_the_reads_does_not_count(
    sources: Database[dict[str, Any]], index: IndexModel
) -> None:
    sources["smsWaves"].create_indexes([index])
    assert ("smsWaves", ("campaignId", "status")) in missing(sources)


COMPOUND = [("_id.campaign_id", 1), ("_id.user_id", 1)]
NO_COMPOUND_INDEX = {
    "other order": IndexModel(COMPOUND[::-1]),
    "hidden": IndexModel(COMPOUND, hidden=True),
    "partial": IndexModel(COMPOUND, partialFilterExpression={"locale": "en-us"}),
    "sparse": IndexModel(COMPOUND, sparse=True),
    "collated": IndexModel(COMPOUND, collation={"locale": "en"}),
}


@pytest.mark.parametrize("index", NO_COMPOUND_INDEX.values(), ids=NO_COMPOUND_INDEX)
def test_an_index_that_cannot_serve_every_query_is_not_taken_for_the_compound_one(
    sources: Database[dict[str, Any]], index: IndexModel
) -> None:
    sources["entries"].create_indexes([index])
    assert range_of(sources, Collection.ENTRIES, CAMPAIGN) == EntryRange(CAMPAIGN, dotted=False)
    assert not entries_are_dotted(sources)


@pytest.mark.parametrize("more", [[], [("locale", 1)]])
def test_the_compound_index_is_taken_where_it_is(sources: Database[dict[str, Any]], more: list[Any]) -> None:
    sources["entries"].create_indexes([IndexModel(COMPOUND[::-1]), IndexModel([*COMPOUND, *more])])
    assert range_of(sources, Collection.ENTRIES, CAMPAIGN) == EntryRange(CAMPAIGN, dotted=True)
    assert entries_are_dotted(sources)


@pytest.mark.parametrize("root", [Collection.SCORING, Collection.CODES])
def test_a_scan_that_goes_on_names_the_campaigns_index_where_it_is(
    sources: Database[dict[str, Any]], root: Collection
) -> None:
    collection = sources[{Collection.SCORING: "scoring", Collection.CODES: "codes"}[root]]
    collection.create_index([("campaignId", 1), ("_id", 1)], sparse=True, name="sparse")
    assert range_of(sources, root, CAMPAIGN) == CampaignRange(CAMPAIGN, None)
    collection.drop_index("sparse")
    collection.create_index([("campaignId", 1), ("_id", 1)], name="ours")
    assert range_of(sources, root, CAMPAIGN) == CampaignRange(CAMPAIGN, "ours")


@pytest.mark.parametrize("selection", [EntryRange(CAMPAIGN, dotted=True), CampaignRange(CAMPAIGN)])
def test_odd_keys_are_asked_for_by_what_an_index_has_ranges_of(selection: EntryRange | CampaignRange) -> None:
    """The type "array" has none: MongoDB would read the whole campaign for it."""
    asked = str(selection.with_nonconforming_keys())
    assert "objectId" in asked
    assert "array" not in asked


def test_a_collection_that_is_not_there_is_told_apart(database: Database[dict[str, Any]]) -> None:
    create_source_indexes(database)
    database.drop_collection("scoring")
    found = missing_source_indexes(database, all_specs())
    absent = {item.index.collection for item in found if not item.collection_exists}
    assert absent == {"campaigns", "users", "scoring"}  # the first two were never created
    assert {item.index.collection for item in found} == absent


def test_init_warns_of_each_and_ends_well(cli: Cli, sources: Database[dict[str, Any]]) -> None:
    create_source_indexes(sources)
    sources["scoring"].drop_index([("campaignId", 1), ("userId", 1)])
    sources.drop_collection("users")
    result = cli.run("init", "--check-sources")
    assert result.exit_code == 0, result.stderr
    scoring, users = result.stderr.splitlines()
    assert scoring.startswith("warning: ")
    assert "createIndex({campaignId: 1, userId: 1})" in scoring
    assert "verifiedEntries" in scoring
    assert "users does not exist" in users
    assert "one_triggered" in result.stdout


def test_init_says_once_that_a_collection_is_not_there(cli: Cli, sources: Database[dict[str, Any]]) -> None:
    create_source_indexes(sources)
    sources.drop_collection("scoring")
    sources.drop_collection("entries")
    entries, scoring = cli.run("init", "--check-sources").stderr.splitlines()
    assert entries.endswith(" and 9 more")
    assert all(name in scoring for name in ("waitlist", "reminderEmail", "verifiedEntries"))


def test_init_says_that_nothing_is_missing(cli: Cli, sources: Database[dict[str, Any]]) -> None:
    create_source_indexes(sources)
    result = cli.run("init", "--check-sources")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "no index is missing" in result.stdout
    assert "no index is missing" not in cli.run("init").stdout, "unasked, nothing is looked at"


def test_init_tells_machines_the_same(cli: Cli, sources: Database[dict[str, Any]]) -> None:
    create_source_indexes(sources)
    sources.drop_collection("codes")
    result = cli.run("init", "--check-sources", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    (warning,) = json.loads(result.stdout)["missingIndexes"]
    assert warning == {
        "collection": "codes",
        "collectionExists": False,
        "keys": ["campaignId", "_id"],
        "exportTypes": ["codes", "codeAssignments", "codeWaves"],
    }
    assert "missingIndexes" not in json.loads(cli.run("init", "--json").stdout)


def test_init_without_mongodb_is_a_passing_fault(cli: Cli) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=200"
    result = cli.run("init", "--check-sources", "--json", VFEXPORT_MONGO_URI=uri)
    assert result.exit_code == 3
    assert error_of(result.stderr)["code"] == "SourceUnavailable"


def test_seed_creates_all_that_is_needed() -> None:
    seeded = {(collection, keys) for collection, several in SOURCE_INDEXES.items() for keys in several}
    assert seeded >= EXPECTED_BY_SPECIFICATION
