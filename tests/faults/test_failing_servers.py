"""MongoDB or S3 fails at some call of a run, or the network does: the run finishes right, or fails and leaves nothing.

A run without faults says which calls there are; then one after the other fails, for once or from there on.
"""

from __future__ import annotations

import itertools
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from tests.api_client import wait_for
from tests.delivered import load
from tests.faults.checker import Checker
from tests.faults.conftest import MIB, large_campaign
from tests.faults.failing import MONGO_FAULTS, S3_FAULTS
from tests.integration.queue_helpers import new_export
from tests.proxy import Proxy
from tests.s3_faults import Rule
from tests.s3_proxy import through
from tests.small_parts import SMALLEST, use_small_parts
from vfexport_core.errors import DeliveryFailed, SourceUnavailable
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import initialise
from vfexport_core.services.run_attempt import run_claimed
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from tests.faults.failing import Saboteur
    from tests.faults.history import History
    from tests.s3_faults import Fault
    from tests.s3_proxy import S3Proxy
    from vfexport_core.embedded import MongoServer, S3Server
    from vfexport_core.queue.models import Export
    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

pytestmark = pytest.mark.usefixtures("_little_patience")

FINISHED, FAILED, TRIGGERED = ExportStatus.FINISHED, ExportStatus.FAILED, ExportStatus.TRIGGERED
SINGLE, PARTS = "entries", "autoReminderEmail"
ROWS = 10  # of an eighth of a part: two parts
RUN_IDS = (f"run-{number}" for number in itertools.count(1))


@pytest.fixture
def row_bytes() -> int:
    return SMALLEST // 8


@pytest.fixture
def campaign(database: Documents, row_bytes: int) -> str:
    return load(database, large_campaign(ROWS, row_bytes))


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_parts(monkeypatch)


@pytest.fixture
def checker(database: Documents, settings: Settings, history: History, campaign: str) -> Checker:
    checker = Checker(database, settings, history, campaign)
    initialise(checker.database)
    return checker


@dataclass
class Runs:
    """Has exports run in this process, with clients of their own; keeps the ids of all that were asked for."""

    checker: Checker
    campaign: str
    database: Documents
    settings: Settings
    patience_seconds: float = 30.0
    asked: list[str] = field(default_factory=list)

    def run(self, export_type: str, when_claimed: Callable[[], object] = lambda: None) -> Export:
        """Run an export from the request to its end, and give it as it is then."""
        store = ExportRepository(self.database, RetryLimits(self.patience_seconds))
        export, _ = store.request(new_export(campaign_id=self.campaign, export_type=export_type))
        self.asked.append(export.id)
        claim, export = store.claim(export.id, next(RUN_IDS))
        when_claimed()
        with BucketClients(self.settings) as buckets:
            backend = Backend(self.settings, database=self.database, queue=store, buckets=buckets)
            with suppress(SourceUnavailable, DeliveryFailed):
                run_claimed(claim, export, backend, on_count=lambda _: None, on_progress=lambda *_: None)
        return self.checker.store.get(export.id)

    def assert_all_well(self) -> None:
        self.checker.assert_all_well(self.asked)


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("fault", S3_FAULTS.values(), ids=S3_FAULTS)
@pytest.mark.parametrize("export_type", [SINGLE, PARTS])
def test_s3_may_fail_at_any_call(
    checker: Checker,
    campaign: str,
    database: Documents,
    settings: Settings,
    s3: S3Proxy,
    *,
    export_type: str,
    fault: Fault,
) -> None:
    runs = Runs(checker, campaign, database, through(settings, s3.url))
    assert runs.run(export_type).status is FINISHED
    calls = len(s3.seen())
    assert calls >= 6
    for number in range(calls):
        s3.reset()
        once = s3.add(Rule(None, fault, times=1, skip=number))
        assert (runs.run(export_type).status, once.applied) == (FINISHED, 1), number
        s3.reset()
        s3.add(Rule(None, fault, skip=number))
        failed = runs.run(export_type)
        assert (failed.status, failed.error and failed.error["code"]) == (FAILED, "DeliveryFailed"), number
    s3.reset()
    runs.assert_all_well()


def test_exports_of_the_same_minute_share_no_file(
    checker: Checker, campaign: str, database: Documents, settings: Settings, s3: S3Proxy
) -> None:
    """Taking away what the first left must not take away what the second delivered (the minute is in their keys)."""
    runs = Runs(checker, campaign, database, through(settings, s3.url))
    s3.fail("CopyObject")
    failed = runs.run(PARTS)
    s3.reset()
    database.exports.update_one({}, {"$set": {"date.created": failed.date.created.replace(second=0)}})
    finished = [runs.run(PARTS) for _ in range(2)]
    assert [export.status for export in finished] == [FINISHED] * 2
    assert not set(finished[0].keys) & set(finished[1].keys)
    runs.assert_all_well()


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("fault", MONGO_FAULTS.values(), ids=MONGO_FAULTS)
@pytest.mark.parametrize("export_type", [SINGLE, PARTS])
def test_mongodb_may_fail_once_at_any_command(
    checker: Checker,
    campaign: str,
    settings: Settings,
    shaky: Documents,
    saboteur: Saboteur,
    *,
    export_type: str,
    fault: dict[str, Any],
) -> None:
    runs = Runs(checker, campaign, shaky, settings)
    saboteur.listen()
    assert runs.run(export_type).status is FINISHED
    commands = saboteur.seen.copy()
    assert {"update", "find", "findAndModify", "listCollections", "aggregate", "listIndexes"} <= set(commands)
    for number in itertools.count(1):
        saboteur.fail_at(number, fault)
        assert runs.run(export_type).status is FINISHED, number
        if len(saboteur.seen) < number:
            # So many are not needed: each has failed once. Beats come in between, so that it is not always the same.
            assert number > len(commands) // 2
            break
        assert saboteur.failures, number
    saboteur.heal()
    runs.assert_all_well()


@pytest.mark.parametrize("fault", MONGO_FAULTS.values(), ids=MONGO_FAULTS)
@pytest.mark.parametrize(
    "command", ["find", "aggregate", "getMore", "listCollections", "listIndexes", "findAndModify", "all"]
)
def test_mongodb_may_fail_for_good(  # noqa: PLR0917
    checker: Checker,
    campaign: str,
    database: Documents,
    settings: Settings,
    shaky: Documents,
    saboteur: Saboteur,
    *,
    command: str,
    fault: dict[str, Any],
) -> None:
    """The run fails and says so; if it cannot, the reaper does."""
    for entry in list(database.entries.find({}, {"_id": 1}).limit(2)):
        database.entries.update_one(entry, {"$set": {"fields.color": "c" * 2**23}})  # more than one batch
    runs = Runs(checker, campaign, shaky, settings, patience_seconds=3.0)
    everything = ["find", "aggregate", "getMore", "listCollections", "listIndexes", "findAndModify", "update"]
    failing = everything if command == "all" else [command]
    export = runs.run(SINGLE, when_claimed=lambda: saboteur.set("alwaysOn", failing, fault))
    saboteur.heal()
    if command == "getMore":
        assert export.status is FINISHED, "every new scan brings its first batch"
    elif command in {"findAndModify", "all"}:
        assert export.status is TRIGGERED
        released = wait_for(lambda: look_late(checker, database))  # a beat that was under way may come in between
        assert released.error["code"] == "WorkerLost"
        checker.run_again(export.id)
    else:
        assert (export.status, export.error and export.error["code"]) == (FAILED, "SourceUnavailable")
        checker.run_again(export.id)
    runs.assert_all_well()


def look_late(checker: Checker, database: Documents) -> Export | None:
    """Look as a reaper does once the lease has run out."""
    an_hour_ago = {"$dateSubtract": {"startDate": "$$NOW", "unit": "hour", "amount": 1}}
    database.exports.update_one({"status": "TRIGGERED"}, [{"$set": {"leaseUntil": an_hour_ago}}])
    return checker.store.reaper.reap(checker.settings.timeout_millis * 10)


def slow(proxy: Proxy) -> None:
    proxy.delay = 0.003


def cut_now_and_then(proxy: Proxy) -> None:
    blocks = itertools.count(1)
    proxy.on_block = lambda *_: next(blocks) % 600 == 0 and proxy.cut()


def interrupted(fault: Callable[[Proxy], None]) -> Callable[[Proxy], None]:
    """Have it go on after a while, and happen again after many blocks."""

    def script(proxy: Proxy) -> None:
        blocks = itertools.count(1)

        def look(*_: object) -> None:
            if next(blocks) in {20, 150}:
                fault(proxy)
                threading.Timer(0.5, proxy.restore).start()

        proxy.on_block = look

    return script


SCRIPTS = {
    "slow": slow,
    "cut now and then": cut_now_and_then,
    "refusing for a while": interrupted(Proxy.refuse),
    "swallowing for a while": interrupted(Proxy.blackhole),
}


@pytest.mark.parametrize("row_bytes", [MIB], ids=["large rows"])  # there are to be many blocks
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("server", ["mongo", "s3"])
def test_the_network_may_fail_for_a_while(  # noqa: PLR0917
    checker: Checker,
    campaign: str,
    database: Documents,
    settings: Settings,
    mongo_server: MongoServer,
    s3_server: S3Server,
    *,
    row_bytes: int,
    server: str,
    script: Callable[[Proxy], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # as patient as it is
    ports = {"mongo": mongo_server.port, "s3": urlsplit(s3_server.endpoint_url).port}
    with Proxy(("127.0.0.1", ports[server] or 0)) as proxy:
        uri = f"mongodb://{proxy.host}:{proxy.port}/?directConnection=true" if server == "mongo" else mongo_server.uri
        if server == "s3":
            settings = through(settings, f"http://{proxy.host}:{proxy.port}")
        with MongoClient[Any](uri) as client:
            runs = Runs(checker, campaign, client[database.name], settings)
            script(proxy)
            for export_type in (SINGLE, PARTS):
                assert runs.run(export_type).status is FINISHED
            assert proxy.accepted > 1
    runs.assert_all_well()
