"""MongoDB is without a primary for as long as an election takes: nothing that was done is lost by it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from tests.api_client import insert_campaign, running_api
from tests.delivered import load
from tests.faults.checker import Checker
from tests.faults.conftest import large_campaign
from tests.faults.failing import APP, COMMANDS, FailPoint
from tests.integration.queue_helpers import new_export
from tests.proxy import Proxy
from vfexport_core.errors import SourceUnavailable
from vfexport_core.mongo.retry import CALLER_LIMITS, ELECTION_SECONDS, WORKER_LIMITS
from vfexport_core.queue.lease import LEASE_SECONDS
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import initialise
from vfexport_core.services.run_attempt import run_claimed
from vfexport_core.settings import Settings
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from tests.faults.history import History
    from vfexport_core.embedded import MongoServer

    Documents = Database[dict[str, Any]]

NOT_WRITABLE_PRIMARY = {"errorCode": 10107}
SECONDS = ELECTION_SECONDS + 1


@dataclass
class Election(FailPoint):
    """Has every command fail from the first write with all of `words` on, until the first try after `SECONDS`."""

    words: tuple[str, ...] = ()
    began: float = 0.0
    over: bool = False

    def started(self, event: Any) -> None:
        if self.began or event.command_name != "findAndModify":
            return
        if all(word in str(event.command["update"]) for word in self.words):
            self.began = time.monotonic()
            self.set("alwaysOn", COMMANDS, NOT_WRITABLE_PRIMARY)

    def failed(self, event: Any) -> None:  # noqa: ARG002 the driver's signature
        if not self.over and time.monotonic() - self.began >= SECONDS:
            self.over = True
            self.heal()


@pytest.fixture
def election(mongo_client: MongoClient[Any]) -> Iterator[Election]:
    election = Election(mongo_client)
    yield election
    election.heal()


@pytest.fixture
def electing(mongo_server: MongoServer, database: Documents, election: Election) -> Iterator[Documents]:
    """The test's database through a client that has to live through the election."""
    options: dict[str, Any] = {"serverMonitoringMode": "poll", "heartbeatFrequencyMS": 500}
    with MongoClient[Any](mongo_server.uri, appname=APP, event_listeners=[election], **options) as client:
        yield client[database.name]


# What the writes have in them: the last signs of life before the file is published, and the end.
MOMENTS = {"confirm": ("leaseUntil", "progress.updated"), "finish": ("FINISHED",)}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_election_at_the_end_of_a_run_fails_no_export(  # noqa: PLR0917
    database: Documents,
    electing: Documents,
    election: Election,
    settings: Settings,
    history: History,
    moment: str,
) -> None:
    campaign = load(database, large_campaign(10))
    checker = Checker(database, settings, history, campaign)
    initialise(checker.database)
    export, _ = checker.store.request(new_export(campaign_id=campaign, export_type="entries"))
    store = Backend.of_worker(settings, database=electing).queue
    claim, export = store.claim(export.id, "run-1")
    with BucketClients(settings) as buckets:
        backend = Backend(settings, database=electing, queue=store, buckets=buckets)

        def on_progress(*_: object) -> None:
            election.words = MOMENTS[moment]  # not before: the heart beats from the beginning

        election.words = ("never",)
        done = run_claimed(claim, export, backend, on_count=lambda _: None, on_progress=on_progress)
    assert election.over
    assert done.status is ExportStatus.FINISHED
    checker.assert_all_well([export.id])


def test_the_limits_fit_each_other() -> None:
    assert Settings.model_fields["lease_seconds"].default == LEASE_SECONDS
    assert 3 * ELECTION_SECONDS < WORKER_LIMITS.seconds < LEASE_SECONDS
    assert WORKER_LIMITS.until_silent == WORKER_LIMITS.seconds
    assert CALLER_LIMITS.until_silent < ELECTION_SECONDS < CALLER_LIMITS.seconds


@pytest.fixture
def proxy(mongo_server: MongoServer) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", mongo_server.port)) as proxy:
        yield proxy


def beyond(settings: Settings, proxy: Proxy) -> Settings:
    address = f"mongodb://{proxy.host}:{proxy.port}/?directConnection=true"
    return Settings.model_validate(settings.model_dump() | {"mongo_uri": address, "dev_mode": True})


def test_callers_wait_for_a_server_that_is_being_started_again(
    settings: Settings, database: Documents, proxy: Proxy
) -> None:
    campaign = insert_campaign(database)
    with running_api(beyond(settings, proxy)) as api:
        api.services.backend.initialise()
        ask = partial(api.post, f"/campaigns/{campaign}/exports", token=api.token("*"))
        assert ask(json={"exportType": "entries"}).status_code == 202
        proxy.refuse()
        back = threading.Timer(CALLER_LIMITS.until_silent + 2, proxy.restore)
        back.start()
        assert ask(json={"exportType": "fanlist"}).status_code == 202
        back.join()


@pytest.mark.parametrize("first", [True, False], ids=["just now", "for a while"])
def test_callers_do_not_wait_for_a_server_that_says_nothing(
    settings: Settings, database: Documents, proxy: Proxy, first: bool
) -> None:
    """Neither while the driver still believes in it nor when it has given it up."""
    campaign = insert_campaign(database)
    with running_api(beyond(settings, proxy)) as api:
        api.services.backend.initialise()
        ask = partial(api.get, f"/campaigns/{campaign}/exports/{campaign}", token=api.token("*"))
        assert ask().status_code == 404
        proxy.blackhole()
        if not first:
            proxy.cut()
            with pytest.raises(SourceUnavailable):
                api.services.queue.running()
        elected = threading.Event()
        election = threading.Timer(ELECTION_SECONDS, elected.set)
        election.start()
        answer = ask()
        assert (answer.status_code, elected.is_set()) == (503, False)
        assert "Retry-After" in answer.headers
        election.cancel()
