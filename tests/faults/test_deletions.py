"""A deletion with one fault at every call of MongoDB and of S3: it is right at once, or completed by going on with it.

And deletions beside exports of the same campaign, for some rounds: afterwards no file names the user.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from tests.ccpa import Service, names_person, running_service
from tests.s3_faults import ACCESS_DENIED, Answer, LoseAnswer, Reset
from tests.s3_proxy import S3Proxy
from vfexport_core.delivery.buckets import BucketClients
from vfexport_core.errors import DeleteFailed, SourceUnavailable, VfexportError
from vfexport_core.queue.models import ExportStatus
from vfexport_core.settings import BucketsSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer, S3Server
    from vfexport_core.settings import Settings

APP = "deletion-under-fault"
COMMANDS = ["find", "aggregate", "update", "delete", "distinct", "listIndexes", "findAndModify"]
# A passing fault, which is survived at once, and one that is not tried again.
MONGO_FAULTS = {"dropped": {"closeConnection": True}, "refused": {"errorCode": 13}}
S3_FAULTS = {"500": Answer(), "reset": Reset(), "lost answer": LoseAnswer(), "refused": ACCESS_DENIED}
ROUNDS = 6


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def calm(settings: Settings, database: Database[dict[str, Any]]) -> Iterator[Service]:
    with running_service(settings, database) as service:
        yield service


@pytest.fixture
def troubled(calm: Service, mongo_server: MongoServer, proxy: S3Proxy) -> Iterator[Service]:
    """The same service, by clients that have faults."""
    fields = {
        name: bucket.model_copy(update={"endpoint_url": proxy.url}) for name, bucket in calm.settings.buckets if bucket
    }
    settings = calm.settings.model_copy(update={"buckets": BucketsSettings(**fields)})
    with MongoClient[dict[str, Any]](mongo_server.uri, appname=APP) as client, BucketClients(settings) as buckets:
        yield Service(settings, client[calm.database.name], buckets)


def load(calm: Service) -> int:
    """Load what a deletion has to do with: ended exports, one that waits, one that runs. Gives what is to go."""
    campaign = calm.add_campaign(50)
    calm.run(calm.store.retry(calm.exported(campaign).id, redeliver=True))
    calm.exported(campaign, "codeWaves")
    calm.store.request_cancel(calm.request(campaign, "fanlist").id)
    calm.request(campaign, "waitlist")
    calm.store.claim(calm.request(campaign, "artistOptIn").id, "lost-run")
    return 3


def assert_gone(calm: Service, troubled: Service, exports: int) -> None:
    """Go on until nothing is open, which takes one pass, then look that nothing is half-forgotten."""
    failed = False
    try:
        record = troubled.delete()
    except (DeleteFailed, SourceUnavailable) as error:
        failed = True
        # Nothing may have been recorded: then the caller asks again.
        record = calm.delete() if isinstance(error, SourceUnavailable) else None
    if failed:
        assert calm.heal_now().left == ()
    assert calm.ledger.open_ones() == []
    assert calm.everything() == []
    assert [export.status for export in calm.store.list()] == [ExportStatus.PENDING] * 2
    records = list(calm.database["ccpaDeletions"].find())
    if record is not None:
        assert record.is_complete
    assert sum(entry["deletedCount"]["exports"] for entry in records) == exports
    assert sum(entry["deletedCount"]["files"] for entry in records) == 3


@pytest.mark.parametrize("fault", MONGO_FAULTS)
@pytest.mark.parametrize("number", range(36))
def test_one_fault_at_any_call_of_mongodb(
    calm: Service, troubled: Service, mongo_client: MongoClient[dict[str, Any]], number: int, fault: str
) -> None:
    exports = load(calm)
    data = {"appName": APP, "failCommands": COMMANDS, **MONGO_FAULTS[fault]}
    with contextlib.ExitStack() as stack:
        off = {"configureFailPoint": "failCommand", "mode": "off"}
        stack.callback(mongo_client.admin.command, off)
        mode: dict[str, Any] = {"times": 1}
        if number:
            mode["skip"] = number
        mongo_client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
        assert_gone(calm, troubled, exports)


@pytest.mark.parametrize("fault", S3_FAULTS)
@pytest.mark.parametrize("number", range(6))
def test_one_fault_at_any_call_of_s3(calm: Service, troubled: Service, proxy: S3Proxy, number: int, fault: str) -> None:
    exports = load(calm)
    proxy.fail(None, S3_FAULTS[fault], skip=number, times=1)
    assert_gone(calm, troubled, exports)


def test_deletions_and_exports_run_beside_each_other(calm: Service) -> None:
    campaign = calm.add_campaign(50)
    types = ("entries", "codeAssignments", "fanlist")
    stop = threading.Event()
    errors: list[BaseException] = []

    def export() -> None:
        """Request and run, one after the other, whatever becomes of it."""
        while not stop.is_set():
            for export_type in types:
                with contextlib.suppress(VfexportError):
                    calm.run(calm.request(campaign, export_type))

    def delete() -> None:
        try:
            for _ in range(ROUNDS):
                with contextlib.suppress(DeleteFailed):
                    calm.delete()
        except BaseException as error:  # noqa: BLE001 told by the test
            errors.append(error)
        finally:
            stop.set()

    workers = [threading.Thread(target=work) for work in (export, delete)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert errors == []
    calm.settle_seconds = 0
    assert calm.heal_now().left == ()
    records = list(calm.database["ccpaDeletions"].find())
    assert len(records) == ROUNDS
    last = max(record["date"]["completed"] for record in records)
    delivered = {key: export for export in calm.store.list(limit=200) for key in export.keys}
    for (_, key), data in calm.files().items():
        assert key in delivered, "a file without a document is half-forgotten"
        assert not names_person(data) or delivered[key].date.created > last
