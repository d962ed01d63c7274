"""The index of the files: whoever has a row in a file is found there, whatever became of the sources."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from bson import ObjectId
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from tests.builders import make_code, object_id
from tests.ccpa import FANS, KEPT_TYPES, PERSON, USER_ID, Service, names_person
from tests.reference import Campaign, NoMarketsFound, PromotersNotFound, decode, export
from tests.reference.values import dig, id_key
from tests.strategies import CAMPAIGN_ID, DATE_KEY, EMBEDDED, campaigns, load
from vfexport_core.catalog import all_specs
from vfexport_core.ccpa import file_index
from vfexport_core.ccpa.file_index import PART_KEYS, FileIndex, FileIndexWriter, file_of
from vfexport_core.ccpa.person_keys import IdKind, PersonHasher, people_of
from vfexport_core.embedded.synthetic.indexes import create_source_indexes
from vfexport_core.errors import ConfigurationError, DeleteFailed, LeaseLost
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.run import write_rows
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services.reap import clean_up
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.embedded import MongoServer
    from vfexport_core.settings import Settings

SPECS = [spec for spec in all_specs() if spec.ccpa_deletes]
SOURCES = ("entries", "users", "scoring", "codes")
DIRTY = hypothesis_settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
COLLECTION = "ccpaFileIndex"
OTHERS = (2, 3)


def take_away(service: Service, user_id: str | None = None) -> None:
    """Take a user's documents out of the sources, or everybody's."""
    for name in SOURCES:
        fields = ("_id", "_id.user_id", "userId", "assignment.userId")
        ids = {"$in": [user_id, user_id and ObjectId(user_id)]}
        service.database[name].delete_many({} if user_id is None else {"$or": [{field: ids} for field in fields]})


# Deletions find the files by it


def test_every_user_is_found_in_every_file_after_the_sources_are_gone(service: Service) -> None:
    campaign, other = service.add_full_campaign(50), service.add_full_campaign(51)
    exports = {service.exported(campaign, spec.type).id: spec for spec in SPECS}
    service.exported(other)
    files = {export_id: everything_of(service, export_id) for export_id in exports}
    take_away(service)
    pairs = 0
    for fan in FANS:
        hits = service.file_index.files_holding(people_of(service.settings, str(object_id(fan))))
        for export_id, spec in exports.items():
            if names_person(files[export_id], fan):
                pairs += 1
                assert file_of(export_id, 1) in {hit.file for hit in hits}, (spec.type, fan)
    assert pairs == len(SPECS) * len(FANS)
    record = service.delete()
    assert record.campaigns == tuple(sorted([campaign, other]))
    assert (record.deleted_exports, record.deleted_files) == (len(SPECS) + 1, len(SPECS) + 1)
    assert service.everything() == []
    assert service.database[COLLECTION].count_documents({}) == 0, "it goes with the files"


def everything_of(service: Service, export_id: str) -> bytes:
    keys = service.store.get(export_id).keys
    return b"".join(data for (_, key), data in service.files().items() if key in keys)


@pytest.mark.parametrize("export_type", ["codes", "codeAssignments", "codeWaves"])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_user_who_has_a_code_only_is_found(service: Service, export_type: str, *, indexed: bool) -> None:
    """By the sources alone, too, as a file that was delivered before there was an index."""
    campaign = service.add_campaign(50, entries=OTHERS, scored=OTHERS)
    service.database["codes"].insert_one(make_code("C", PERSON, 50))
    service.exported(campaign, export_type)
    if not indexed:
        service.database[COLLECTION].delete_many({})
    assert service.delete().deleted_files == 1
    assert service.everything() == []


@pytest.mark.parametrize("where", ["users", "scoring", "codes"])
def test_a_code_that_names_the_member_alone_is_found_by_whoever_knows_the_member(service: Service, where: str) -> None:
    """The member's id is what the account, a scoring record or another code says that it is."""
    campaign = service.add_campaign(50, entries=OTHERS, scored=OTHERS)
    elsewhere = service.add_campaign(51, entries=OTHERS, scored=OTHERS)
    code = make_code("C", PERSON, 50, assignment={"memberId": "m1"})
    del code["assignment"]["userId"]
    service.database["codes"].insert_one(code)
    service.exported(campaign, "codes")
    knowing = {
        "users": {"_id": object_id(PERSON), "integrations": {"ticketmaster": {"member_id": "m1"}}},
        "scoring": {"campaignId": elsewhere, "userId": USER_ID, "memberId": "m1"},
        "codes": make_code("D", PERSON, 51),
    }
    service.exported(elsewhere, "codes")
    service.database[where].insert_one(knowing[where])
    for is_indexed in (True, False):
        if not is_indexed:
            service.let_clocks_agree()
            service.exported(campaign, "codes")
            service.exported(elsewhere, "codes")
            service.database[COLLECTION].delete_many({})
        assert campaign in (service.delete().campaigns or ())
        assert {export.campaign_id for export in service.store.list()} <= {elsewhere}


def test_the_record_alone_finds_the_files_when_the_service_goes_on_with_it(service: Service) -> None:
    campaign = service.add_campaign(50)
    service.exported(campaign)
    record_id = service.open_record()
    take_away(service)
    assert service.heal_now().completed == (record_id,)
    assert service.everything() == []
    assert USER_ID not in service.stored_text()


def test_files_of_earlier_attempts_are_found_and_forgotten_and_others_are_not(service: Service) -> None:
    campaign = service.add_campaign(50)
    foreign = service.exported(service.add_campaign(51, entries=OTHERS, scored=OTHERS))
    export = service.exported(campaign)
    take_away(service, USER_ID)
    again = service.run(service.store.retry(export.id, redeliver=True))
    names = {part["file"] for part in service.database[COLLECTION].find()}
    assert names == {file_of(export.id, 1), file_of(again.id, 2), file_of(foreign.id, 1)}
    assert service.delete().deleted_files == 2
    assert {part["file"] for part in service.database[COLLECTION].find()} == {file_of(foreign.id, 1)}


def test_a_file_that_cannot_be_cleaned_up_keeps_its_index(service: Service) -> None:
    export = service.exported(service.add_campaign(50))
    unknown = replace(export.attempts[-1], bucket="none-of-ours")
    with pytest.raises(ConfigurationError, match="none-of-ours"):
        clean_up(export, unknown, service.buckets, service.database)
    assert {part["file"] for part in service.database[COLLECTION].find()} == {file_of(export.id, 1)}


def test_types_that_are_kept_have_no_index(service: Service) -> None:
    campaign = service.add_full_campaign()
    for export_type in KEPT_TYPES:
        service.exported(campaign, export_type)
    assert service.database[COLLECTION].count_documents({}) == 0


def test_without_a_hash_key_exports_go_on_without_an_index(service: Service) -> None:
    service.settings = service.settings.model_copy(update={"ccpa_hash_key": None})
    assert service.exported(service.add_campaign(50)).status is ExportStatus.FINISHED
    assert service.database[COLLECTION].count_documents({}) == 0


class During(CommandListener):
    """Calls `then` once, directly before the index of a file is sent."""

    def __init__(self) -> None:
        self.then: Callable[[], object] | None = None

    def started(self, event: Any) -> None:
        then = self.then
        if then is not None and event.command_name == "insert" and event.command["insert"] == COLLECTION:
            self.then = None
            then()

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


@pytest.fixture
def during() -> During:
    return During()


@pytest.fixture
def exporting(service: Service, mongo_server: MongoServer, during: During) -> Iterator[Service]:
    """The same service, by a client that is listened to."""
    with MongoClient[dict[str, Any]](mongo_server.uri, event_listeners=[during], tz_aware=True) as client:
        yield Service(service.settings, client[service.database.name], service.buckets)


def test_a_deletion_that_looks_before_the_index_is_there_is_seen_by_the_export(
    service: Service, exporting: Service, during: During
) -> None:
    """The rows are read, then the user leaves the sources, then the deletion finds nothing and is complete."""
    campaign = service.add_campaign(50)
    documents = {name: list(service.database[name].find()) for name in SOURCES}
    completed: list[Any] = []

    def delete() -> None:
        take_away(service, USER_ID)
        completed.append(service.delete())

    during.then = delete
    export = exporting.request(campaign)
    with pytest.raises(LeaseLost):
        exporting.run(export)
    assert [(record.is_complete, record.campaigns) for record in completed] == [(True, ())]
    again = service.store.get(export.id)
    assert (again.status, again.attempt) == (ExportStatus.PENDING, 2)
    assert service.everything() == []
    assert service.database[COLLECTION].count_documents({}) == 0
    assert service.record()["campaigns"] == [campaign], "so that the next attempt respects it"
    for name, found in documents.items():
        service.database[name].delete_many({})
        service.database[name].insert_many(found)
    ended = service.run(again)
    assert (ended.status, ended.count, (ended.meta or {})["ccpaExcluded"]) == (ExportStatus.FINISHED, 2, 1)
    assert not any(names_person(data) for data in service.files().values())


def test_an_open_deletion_of_somebody_else_is_no_obstacle(service: Service) -> None:
    record = service.deletions.begin(service.open_record("somebody else"))
    assert record is not None
    service.deletions.set_campaigns(record, [])
    assert service.exported(service.add_campaign(50)).status is ExportStatus.FINISHED


# Keys


def test_files_of_a_former_key_are_found_while_it_is_known_and_else_nothing_is_taken_for_done(service: Service) -> None:
    former = service.settings.ccpa_hash_key
    assert former is not None
    service.exported(service.add_campaign(50))
    take_away(service)
    service.settings = service.settings.model_copy(update={"ccpa_hash_key": SecretStr("another key" * 4)})
    with pytest.raises(DeleteFailed, match="ConfigurationError"):
        service.delete()
    assert "VFEXPORT_CCPA_PREVIOUS_HASH_KEYS" in service.record()["errors"][-1]["message"]
    assert len(service.files()) == 1
    service.settings = service.settings.model_copy(update={"ccpa_previous_hash_keys": (former,)})
    assert service.delete().deleted_files == 1
    assert service.record()["status"] == "COMPLETE"


def test_a_key_depends_on_the_id_its_kind_and_the_secret_and_not_on_how_the_id_is_written() -> None:
    hasher, other = PersonHasher.of_secret("one"), PersonHasher.of_secret("two")
    hex_digits = "5f" * 12
    same = [hex_digits, hex_digits.upper(), ObjectId(hex_digits)]
    assert len({hasher.key(IdKind.USER, value) for value in same}) == 1
    ids: list[Any] = [hex_digits, "5e" * 12, "m1", "1", 2, "x" * 300, "é", hex_digits + "0"]
    keys = [one.key(kind, value) for value in ids for kind in IdKind for one in (hasher, other)]
    assert len(set(keys)) == 4 * len(ids)
    assert hasher.key(IdKind.MEMBER, 1) == hasher.key(IdKind.MEMBER, "1") == hasher.key(IdKind.MEMBER, 1.0)
    assert [hasher.key(IdKind.USER, value) for value in (None, "", [])] == [None] * 3
    texts = pa.array([hex_digits, None, "m1", "", "5e" * 12], pa.string())
    wanted = sorted(key for value in (hex_digits, "m1", "5e" * 12) if (key := hasher.key(IdKind.USER, value)))
    assert np.unique(hasher.keys(IdKind.USER, texts)).tolist() == wanted
    assert "one" not in repr(hasher)


# The table


@pytest.fixture
def index(service: Service) -> FileIndex:
    return service.file_index


@pytest.mark.parametrize("count", [1, PART_KEYS, PART_KEYS + 1, 5_000, 40_000])
def test_all_keys_of_a_file_are_found_and_next_to_no_others(index: FileIndex, count: int) -> None:
    random = np.random.default_rng(count)
    keys = random.integers(0, 2**64, size=count, dtype=np.uint64)
    writer = FileIndexWriter(index, file_of("a" * 24, 1), "b" * 24, "c" * 16)
    for some in np.array_split(keys, 3):
        writer.add(some)
    writer.close()
    sought = {int(key) for key in keys[:: max(1, count // 40)]} | {int(keys.min()), int(keys.max())}
    assert all(index.files_holding({"c" * 16: frozenset([key])}) for key in sought)
    others = random.integers(0, 2**64, size=40, dtype=np.uint64)
    assert not any(index.files_holding({"c" * 16: frozenset([int(key)])}) for key in others)
    assert not index.files_holding({"d" * 16: frozenset(sought)}), "a key of another secret means nothing"


def test_segments_bound_the_memory_and_are_searched_alike(
    service: Service, index: FileIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_index, "SEGMENT_KEYS", 1_000)
    keys = np.random.default_rng(1).integers(0, 2**64, size=3_500, dtype=np.uint64)
    writer = FileIndexWriter(index, file_of("a" * 24, 1), "b" * 24, "c" * 16)
    for some in np.array_split(keys, 35):
        writer.add(some)
        waiting = sum(map(len, writer.waiting))
        assert waiting < 1_000
    writer.close()
    assert service.database[COLLECTION].count_documents({}) == 4
    assert all(index.files_holding({"c" * 16: frozenset([int(key)])}) for key in keys[::70])
    sizes = [len(part["keys"]) for part in service.database[COLLECTION].find()]
    assert sum(sizes) == 6 * len(keys)
    assert max(sizes) < 16 * 1024


def test_a_segment_that_is_added_twice_is_there_once(service: Service, index: FileIndex) -> None:
    keys = np.unique(np.random.default_rng(1).integers(0, 2**64, size=5_000, dtype=np.uint64))
    for _ in range(2):
        index.add_segment("a" * 24 + ":1", 1, "b" * 24, "c" * 16, keys)
    assert sum(len(part["keys"]) for part in service.database[COLLECTION].find()) == 6 * len(keys)


# Dirty campaigns, against the reference


def without(bundle: Campaign, *, user: str | None = None, member: str | None = None) -> Campaign:
    """Return a campaign without the documents that name a user, or a member."""

    def others(documents: list[Any], path: tuple[str, ...], key: str | None) -> list[Any]:
        return [one for one in documents if key is None or id_key(dig(decode(one), *path)) != key]

    return replace(
        bundle,
        entries=others(bundle.entries, ("_id", "user_id"), user),
        scoring=others(others(bundle.scoring, ("userId",), user), ("memberId",), member),
        codes=others(others(bundle.codes, ("assignment", "userId"), user), ("assignment", "memberId"), member),
    )


def ids_of(bundle: Campaign, *paths: tuple[str, tuple[str, ...]]) -> set[str]:
    found = {id_key(dig(decode(one), *path)) for name, path in paths for one in getattr(bundle, name)}
    return {key for key in found if key}


def files_of(bundle: Campaign, spec: ExportSpec) -> Any:
    """Return the files as the reference writes them; None when there are none to write."""
    try:
        return export(bundle, spec.type, date_key=DATE_KEY if spec.needs_date_key else None, sample_rows=2).files
    except (NoMarketsFound, PromotersNotFound):
        return None


def indexed(database: Database[Any], settings: Settings, spec: ExportSpec, hasher: PersonHasher) -> Iterator[Any]:
    """Export through the pipeline; yields the keys of each batch."""
    date_key = DATE_KEY if spec.needs_date_key else None
    campaign = find_campaign(database, CAMPAIGN_ID)
    plan = ExportPlan.load(spec, campaign, database, settings, people=hasher, date_key=date_key, batch_documents=3)
    batches: list[Any] = []
    write_rows(ExportPipeline(plan, database, batches.append), io.BytesIO(), lambda *_: None)
    return iter(batches)


@DIRTY
@given(bundle=campaigns(replace(EMBEDDED, case_variants=False)))
def test_whoever_makes_a_difference_to_a_file_is_in_its_index(database: Any, settings: Any, bundle: Any) -> None:
    create_source_indexes(database)
    load(database, bundle)
    settings = settings.model_copy(update={"sample_rows": 2, "lookup_batch": 3})
    hasher = PersonHasher.of_secret("secret")
    index = FileIndex(database, RetryLimits(5.0))
    users = ids_of(
        bundle, ("entries", ("_id", "user_id")), ("scoring", ("userId",)), ("codes", ("assignment", "userId"))
    )
    members = ids_of(bundle, ("scoring", ("memberId",)), ("codes", ("assignment", "memberId")))
    people = [(IdKind.USER, user, without(bundle, user=user)) for user in users]
    people += [(IdKind.MEMBER, member, without(bundle, member=member)) for member in members]
    for spec in SPECS:
        whole = files_of(bundle, spec)
        if whole is None:
            continue
        file = file_of(str(ObjectId()), 1)
        writer = FileIndexWriter(index, file, CAMPAIGN_ID, hasher.key_check)
        for keys in indexed(database, settings, spec, hasher):
            writer.add(keys)
        writer.close()
        for kind, key, others in people:
            if files_of(others, spec) != whole:
                held = index.files_holding({hasher.key_check: frozenset([hasher.key(kind, key) or 0])}, file=file)
                assert held, (spec.type, kind)
