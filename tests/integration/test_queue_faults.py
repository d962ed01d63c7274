"""Passing faults are survived without doing anything twice; lasting ones end soon, as SourceUnavailable."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from tests.integration.queue_helpers import DELIVERED, ERROR, new_export, queued, triggered
from tests.servers import require_fail_points
from vfexport_core.embedded.process import free_port
from vfexport_core.errors import SourceUnavailable, VfexportError
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.queue.models import RETRYABLE, Claim, ExportStatus
from vfexport_core.queue.repository import ExportRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer

    Documents = Database[dict[str, Any]]
    Fault = Callable[..., contextlib.AbstractContextManager[None]]

APP = "queue-under-fault"
COMMANDS = ["find", "findAndModify", "update"]
NOT_APPLIED = {"failCommands": COMMANDS, "closeConnection": True}
# The nearest to an answer that is lost: the write is there, and the client is told that something went wrong.
APPLIED = {
    "failCommands": ["findAndModify", "update"],
    "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}},
}


class Recorder(CommandListener):
    """Notes the names of the commands that were sent, and of those that got no good answer."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.failed_ones: list[str] = []

    def started(self, event: Any) -> None:
        self.sent.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        if "writeConcernError" in event.reply:
            self.failed_ones.append(event.command_name)

    def failed(self, event: Any) -> None:
        self.failed_ones.append(event.command_name)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(params=[True, False], ids=["driver-retries", "driver-does-not"])
def client(
    request: pytest.FixtureRequest, mongo_server: MongoServer, recorder: Recorder
) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client that failpoints single out by its name, with and without the driver's own retries."""
    retries = {"retryWrites": request.param, "retryReads": request.param}
    with MongoClient[dict[str, Any]](mongo_server.uri, appname=APP, event_listeners=[recorder], **retries) as made:
        yield made


@pytest.fixture
def fault(mongo_client: MongoClient[dict[str, Any]]) -> Fault:
    require_fail_points(mongo_client)

    @contextlib.contextmanager
    def fault(mode: object, data: dict[str, Any]) -> Iterator[None]:
        point = {"configureFailPoint": "failCommand", "mode": mode, "data": {"appName": APP, **data}}
        mongo_client.admin.command(point)
        try:
            yield
        finally:
            mongo_client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})

    return fault


@pytest.fixture
def calm(database: Documents) -> ExportRepository:
    """The same queue, seen by a client that has no faults."""
    store = ExportRepository(database)
    store.initialise()
    return store


@pytest.fixture
def store(client: MongoClient[dict[str, Any]], database: Documents, calm: ExportRepository) -> ExportRepository:
    return ExportRepository(client[database.name])


@pytest.fixture
def step(recorder: Recorder, fault: Fault) -> Callable[..., Any]:
    """Do an operation while a fault happens to it, and make sure that it did."""

    def step(data: dict[str, Any], operation: Callable[[], Any], times: int = 1) -> Any:
        before = len(recorder.failed_ones)
        with fault({"times": times}, data):
            result = operation()
        assert len(recorder.failed_ones) >= before + times, "the fault did not reach the operation"
        return result

    return step


@pytest.mark.parametrize("data", [NOT_APPLIED, APPLIED], ids=["not-applied", "applied"])
def test_a_whole_life_with_a_fault_at_every_step_is_lived_once(
    store: ExportRepository, calm: ExportRepository, step: Callable[..., Any], data: dict[str, Any]
) -> None:
    export, created = step(data, lambda: store.request(new_export()))
    assert created
    claim, _ = step(data, lambda: store.claim(export.id, "run-1"))
    assert claim == Claim(export.id, 1, "run-1")
    step(data, lambda: store.claimed(claim).set_count(9))
    step(data, lambda: store.claimed(claim).progress(3, 2, 1))
    step(data, lambda: store.claimed(claim).note_keys("exportsS3", ["k"]))
    step(data, lambda: store.claimed(claim).check_fence())
    finished = step(data, lambda: store.claimed(claim).finish(DELIVERED))
    assert finished == calm.get(export.id)
    assert [(attempt.status, attempt.keys) for attempt in finished.attempts] == [(ExportStatus.FINISHED, ("k",))]
    again = step(data, lambda: store.retry(export.id, redeliver=True))
    assert (again.status, again.attempt, again.attempts) == (ExportStatus.PENDING, 2, finished.attempts)
    assert calm.list() == [again]


@pytest.mark.parametrize("end", ["fail", "expire", "cancel", "close_run"])
def test_every_other_end_happens_once_when_its_answer_is_lost(
    store: ExportRepository, calm: ExportRepository, step: Callable[..., Any], end: str
) -> None:
    claim = triggered(calm)
    ends: dict[str, Callable[[], Any]] = {
        "fail": lambda: store.claimed(claim).fail(ERROR),
        "expire": lambda: store.claimed(claim).expire(),
        "cancel": lambda: store.claimed(claim).cancel(),
        "close_run": lambda: store.close_run(claim.export_id, "run-1", ExportStatus.FAILED, ERROR),
    }
    step(APPLIED, ends[end])
    ended = calm.get(claim.export_id)
    assert ended.status in RETRYABLE
    assert [(attempt.status, attempt.run_id) for attempt in ended.attempts] == [(ended.status, "run-1")]
    again = step(APPLIED, lambda: store.retry(claim.export_id))
    assert (again.status, again.attempt, again.attempts) == (ExportStatus.PENDING, 2, ended.attempts)


def test_several_dropped_connections_in_a_row_are_survived(
    store: ExportRepository, calm: ExportRepository, step: Callable[..., Any]
) -> None:
    export = queued(calm)
    claim, _ = step(NOT_APPLIED, lambda: store.claim(export.id, "run-1"), times=3)
    assert calm.get(export.id).run_id == claim.run_id


@pytest.mark.parametrize("client", [False], indirect=True)
def test_reading_survives_a_dropped_connection(
    store: ExportRepository, calm: ExportRepository, step: Callable[..., Any]
) -> None:
    export = queued(calm)
    assert step(NOT_APPLIED, lambda: store.get(export.id)) == export
    assert step(NOT_APPLIED, lambda: store.pending(5)) == [export]
    assert step(NOT_APPLIED, store.list) == [export]
    assert step(NOT_APPLIED, store.running) is None


LASTING = {
    "closed connections": {"closeConnection": True},
    "no primary": {"errorCode": 189},
    "write conflicts": {"errorCode": 112},
    # Answered in the end, and well: only impatience makes this one fail.
    "no answer": {"blockConnection": True, "blockTimeMS": 4_000},
}


# Shorter than the driver's own patience (30 s to find a server, for ever to wait for an answer).
@pytest.mark.timeout(25)
@pytest.mark.parametrize("kind", LASTING)
def test_a_lasting_outage_is_reported_soon(
    client: MongoClient[dict[str, Any]], database: Documents, calm: ExportRepository, fault: Fault, kind: str
) -> None:
    store = ExportRepository(client[database.name], RetryLimits(0.5))
    export = queued(calm)
    store.get(export.id)
    with fault("alwaysOn", {"failCommands": COMMANDS, **LASTING[kind]}):
        for operation in (lambda: store.get(export.id), lambda: store.claim(export.id, "run-1")):
            with pytest.raises(SourceUnavailable, match="exports") as caught:
                operation()
            assert caught.value.payload == "exports"
            assert caught.value.__cause__ is not None


@pytest.mark.timeout(25)
def test_a_server_that_is_not_there_is_reported_soon() -> None:
    with MongoClient[dict[str, Any]]("127.0.0.1", free_port(), directConnection=True) as nobody:
        store = ExportRepository(nobody["none"], RetryLimits(0.5))
        for operation in (store.running, store.initialise, lambda: store.request(new_export())):
            with pytest.raises(SourceUnavailable, match="exports"):
                operation()


@pytest.mark.parametrize("client", [False], indirect=True)
def test_what_does_not_pass_is_not_tried_again(store: ExportRepository, recorder: Recorder, fault: Fault) -> None:
    unauthorized = {"failCommands": ["find"], "errorCode": 13}
    with fault("alwaysOn", unauthorized), pytest.raises(SourceUnavailable):
        store.running()
    assert recorder.sent.count("find") == 1


def test_a_refused_document_shows_nowhere(calm: ExportRepository) -> None:
    """The validator's answer holds the document; the error must not, nor what is logged with it."""
    secret = "Bearer " + "x" * 20
    with pytest.raises(VfexportError, match="exports") as caught:
        calm.request(new_export(correlation_id=secret))
    assert secret not in "".join(traceback.format_exception(caught.value))
    assert calm.list() == []
