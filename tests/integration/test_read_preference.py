"""Which members of a replica set are read: the primary for what decides, for bulk reads those that are set."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from tests.ccpa import Service
from vfexport_core.catalog import all_specs, find_spec
from vfexport_core.ccpa.suppression import SuppressionList
from vfexport_core.errors import ConfigurationError
from vfexport_core.pipeline.counting import count_rows
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.run import write_rows
from vfexport_core.queue.audit import Actor
from vfexport_core.services import exports
from vfexport_core.services.bootstrap import Backend
from vfexport_core.settings import Settings, load_settings
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer

    Documents = Database[dict[str, Any]]

SCANNED = {"entries", "scoring", "codes", "users"}
DECIDING = {"campaigns", "markets", "promoters", "smsWaves"}
LAGGING = {"mode": "secondaryPreferred", "tags": [{"region": "far"}], "maxStalenessSeconds": 100}
SCAN = {"mode": "secondaryPreferred", "tags": [{"nodeType": "ANALYTICS", "disk": "ssd"}], "maxStalenessSeconds": 120}
SETTINGS = {
    "scan_read_preference": "secondaryPreferred",
    "scan_read_tags": "nodeType:ANALYTICS,disk:ssd",
    "scan_max_staleness_seconds": 120,
}


class Reads(CommandListener):
    """Notes of whom each collection was asked for, and with which read concern."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, Any]] = []

    def started(self, event: Any) -> None:
        command = event.command
        if event.command_name in {"find", "aggregate", "count", "distinct"}:
            level = command.get("readConcern", {}).get("level")
            self.seen.append((command[event.command_name], command.get("$readPreference"), level))

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass

    def preferences(self, *collections: str) -> list[Any]:
        """Return the preferences with which these were asked for, each once; none for the primary."""
        found: list[Any] = []
        for collection, preference, _ in self.seen:
            if collection in collections and preference not in found:
                found.append(preference)
        return found


@pytest.fixture
def reads() -> Reads:
    return Reads()


@pytest.fixture
def lagging(mongo_server: MongoServer, database: Documents, reads: Reads) -> Iterator[Documents]:
    """The test's database by an address that sends reads to secondaries, and does not want them to be certain."""
    address = f"mongodb://127.0.0.1:{mongo_server.port}/?readPreference=secondaryPreferred&readConcernLevel=available"
    address += "&readPreferenceTags=region:far&maxStalenessSeconds=100"
    with MongoClient[Any](address, event_listeners=[reads]) as client:
        client.admin.command("ping")  # it knows the members: else it would not say whom it asks
        yield client[database.name]


@pytest.fixture
def campaign(service: Service) -> str:
    return service.add_full_campaign()


def export_all(database: Documents, settings: Settings, campaign: str) -> None:
    for spec in all_specs():
        date_key = "1700000000000" if spec.needs_date_key else None
        count_rows(spec, campaign, database, settings)
        plan = ExportPlan.load(spec, find_campaign(database, campaign), database, settings, date_key=date_key)
        write_rows(ExportPipeline(plan, database), io.BytesIO(), lambda *_: None)


def test_the_test_would_see_a_read_of_a_secondary(lagging: Documents, reads: Reads) -> None:
    lagging["campaigns"].find_one()
    assert reads.seen == [("campaigns", LAGGING, "available")]


def test_bulk_reads_ask_whom_the_settings_say_and_the_rest_the_primary(
    lagging: Documents, reads: Reads, settings: Settings, campaign: str
) -> None:
    export_all(lagging, settings.model_copy(update=SETTINGS), campaign)
    assert reads.preferences(*SCANNED) == [SCAN]
    assert reads.preferences(*DECIDING) == [None]
    assert {name for name, *_ in reads.seen} == SCANNED | DECIDING


def test_bulk_reads_ask_the_primary_unless_something_else_is_set(
    lagging: Documents, reads: Reads, settings: Settings, campaign: str
) -> None:
    export_all(lagging, settings, campaign)
    assert reads.preferences(*SCANNED, *DECIDING) == [None]


def test_a_deletion_and_what_exports_leave_out_for_it_ask_the_primary(
    service: Service, lagging: Documents, reads: Reads, campaign: str
) -> None:
    settings = service.settings.model_copy(update=SETTINGS)
    far = Service(settings, lagging, service.buckets)
    assert far.delete().campaigns == (campaign,)
    far.open_record()
    waiting = far.request(campaign, "codes")
    left_out = SuppressionList.load(waiting, find_spec("codes"), settings, lagging, lambda: None)
    assert left_out is not None
    far.heal_now()  # which looks for the user by the hash
    assert {name for name, *_ in reads.seen} >= {"campaigns", "entries", "scoring", "users", "exports", "ccpaDeletions"}
    assert {(str(preference), level) for _, preference, level in reads.seen} == {("None", "local")}


def test_requests_ask_the_primary_for_their_campaign(
    lagging: Documents, reads: Reads, campaign: str, settings: Settings
) -> None:
    request: dict[str, Any] = {"date_key": None, "include_all_markets": False, "by": Actor("u", "api", "c")}
    wanted = exports.ExportRequest(spec=find_spec("entries"), campaign_id=campaign, **request)
    export, _ = exports.request(Backend(settings, database=lagging), wanted)
    assert export.campaign_name == "Tour 50"
    assert reads.seen == [(name, None, "local") for name in ("campaigns", "exportControl", "exports")]


WRONG = [
    {"SCAN_READ_PREFERENCE": "anybody"},
    {"SCAN_READ_PREFERENCE": "secondary", "SCAN_READ_TAGS": "ANALYTICS"},
    {"SCAN_READ_PREFERENCE": "secondary", "SCAN_READ_TAGS": "a:b,"},
    {"SCAN_READ_PREFERENCE": "secondary", "SCAN_MAX_STALENESS_SECONDS": "89"},
    {"SCAN_READ_TAGS": "nodeType:ANALYTICS"},
    {"SCAN_MAX_STALENESS_SECONDS": "90"},
]


@pytest.mark.parametrize("variables", WRONG, ids=str)
def test_what_cannot_be_meant_is_refused_by_its_name(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://127.0.0.1:1")
    for name, value in variables.items():
        monkeypatch.setenv(f"VFEXPORT_{name}", value)
    with pytest.raises(ConfigurationError, match=f"VFEXPORT_{list(variables)[-1]}: ") as caught:
        load_settings(env_file=None)
    assert caught.value.payload == f"VFEXPORT_{list(variables)[-1]}"


def test_an_unset_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MONGO_URI": "mongodb://127.0.0.1:1", "SCAN_READ_PREFERENCE": "nearest"}.items():
        monkeypatch.setenv(f"VFEXPORT_{name}", value)
    assert load_settings(env_file=None).scan_tags == {}
