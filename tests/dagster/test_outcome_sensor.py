"""The run-outcome sensor: how the end of a run becomes the status of its export."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.events import JobFailureData, RunFailureReason

from tests.integration.queue_helpers import DELIVERED, new_export
from vfexport_core.errors import SourceUnavailable, error_report
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services import run_tags
from vfexport_core.services.record_run_end import RunEnd, outcome_of
from vfexport_dagster import tags
from vfexport_dagster.definitions import defs
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.sensors import build_outcome_sensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository

STEP_ERROR = {"code": "SourceUnavailable", "message": "MongoDB failed", "payload": "entries"}


def run_end(**fields: Any) -> RunEnd:
    return RunEnd(**{"run_id": "run-1", "export_id": "export-1", "message": "it ended"} | fields)


@pytest.mark.parametrize(
    ("held", "fields", "status", "code"),
    [
        (50.0, {"is_canceled": True}, ExportStatus.CANCELED, None),
        (None, {"is_canceled": True}, ExportStatus.CANCELED, None),
        (50.0, {"is_canceled": True, "max_seconds": 51}, ExportStatus.CANCELED, None),
        (50.0, {"is_canceled": True, "max_seconds": 50}, ExportStatus.EXPIRED, "ExportExpired"),
        (50.0, {"max_seconds": 50}, ExportStatus.EXPIRED, "ExportExpired"),
        (None, {"max_seconds": 50}, ExportStatus.FAILED, "WorkerLost"),
        (50.0, {"failed_by_itself": True, "error": STEP_ERROR}, ExportStatus.FAILED, "SourceUnavailable"),
        (50.0, {"failed_by_itself": True}, ExportStatus.FAILED, "RunFailed"),
        (None, {}, ExportStatus.FAILED, "WorkerLost"),
        (50.0, {}, ExportStatus.FAILED, "WorkerLost"),
    ],
)
def test_the_decision(held: float | None, fields: dict[str, Any], status: ExportStatus, code: str | None) -> None:
    decided, error = outcome_of(run_end(**fields), held)
    assert decided is status
    assert (error["code"] if error else None) == code


@pytest.fixture(params=["memory", "files"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Both storages number their events in ways of their own."""
    local = dg.DagsterInstance.local_temp(str(tmp_path))
    with dg.DagsterInstance.ephemeral() if request.param == "memory" else local as instance:
        yield instance


class Sensor:
    """Evaluates the sensor tick by tick, carrying the cursor as the daemon does."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> str:
        resources = {"mongo": MongoResource()}
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources=resources) as context:
            data = build_outcome_sensor().evaluate_tick(context)
        self.cursor = data.cursor
        return str(data.skip_message)


@pytest.fixture
def sensor(instance: dg.DagsterInstance, environment: dict[str, str]) -> Sensor:
    return Sensor(instance)


@pytest.fixture
def export(store: ExportRepository) -> Export:
    return store.request(new_export())[0]


def start(instance: dg.DagsterInstance, export: Export, **run_tags: str) -> dg.DagsterRun:
    """Make a run as the pending sensor asks for it."""
    job = defs.resolve_job_def("entries_export")
    return instance.create_run_for_job(
        job, run_config={"export_id": export.id}, tags=tags.requested_tags(export, 1_800) | run_tags
    )


def begin(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name)
    instance.report_dagster_event(event, run.run_id)


def test_a_cancelled_run_makes_its_export_cancelled(
    store: ExportRepository, instance: dg.DagsterInstance, sensor: Sensor, export: Export
) -> None:
    run = start(instance, export)
    begin(instance, run)
    store.claim(export.id, run.run_id)
    instance.report_run_canceling(run)
    instance.report_run_canceled(run)
    assert sensor.tick() == f"{export.id} CANCELED"
    closed = store.get(export.id)
    assert (closed.status, closed.attempts[-1].status) == (ExportStatus.CANCELED, ExportStatus.CANCELED)
    assert sensor.tick() == "no run ended that left its export open"


def test_a_run_that_took_too_long_makes_its_export_expired(
    store: ExportRepository, instance: dg.DagsterInstance, sensor: Sensor, export: Export
) -> None:
    """Whether run monitoring or the interrupted process was the one to tell its end."""
    run = start(instance, export, **{tags.MAX_RUNTIME: "0"})
    begin(instance, run)
    store.claim(export.id, run.run_id)
    instance.report_run_failed(run, "Exceeded maximum runtime of 0 seconds.")
    sensor.tick()
    expired = store.get(export.id)
    assert expired.status is ExportStatus.EXPIRED
    assert expired.error is not None
    assert (expired.error["code"], expired.error["payload"]) == ("ExportExpired", run.run_id)
    assert instance.get_run_by_id(run.run_id).tags[run_tags.ERROR] == "ExportExpired"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("STEP_FAILURE", "RunFailed"),
        ("RUN_EXCEPTION", "RunFailed"),
        ("UNEXPECTED_TERMINATION", "WorkerLost"),
        ("START_TIMEOUT", "WorkerLost"),
        (None, "WorkerLost"),
    ],
)
def test_a_run_that_failed_by_itself_is_told_from_one_that_somebody_missed(
    reason: str | None,
    code: str,
    store: ExportRepository,
    instance: dg.DagsterInstance,
    *,
    sensor: Sensor,
    export: Export,
) -> None:
    run = start(instance, export, **{tags.MAX_RUNTIME: "nonsense"})
    begin(instance, run)
    store.claim(export.id, run.run_id)
    failure = dg.DagsterEvent(
        dg.DagsterEventType.RUN_FAILURE.value,
        run.job_name,
        event_specific_data=JobFailureData(None, failure_reason=reason and RunFailureReason(reason)),
    )
    instance.report_dagster_event(failure, run.run_id)
    sensor.tick()
    failed = store.get(export.id)
    assert (failed.status, failed.error and failed.error["code"]) == (ExportStatus.FAILED, code)


def test_a_lost_run_makes_its_export_failed(
    store: ExportRepository, instance: dg.DagsterInstance, sensor: Sensor, export: Export
) -> None:
    run = start(instance, export)
    begin(instance, run)
    store.claim(export.id, run.run_id)
    instance.report_run_failed(run, "Run worker is gone.")
    sensor.tick()
    failed = store.get(export.id)
    assert failed.status is ExportStatus.FAILED
    assert failed.error == {"code": "WorkerLost", "message": "Run worker is gone.", "payload": run.run_id}


@pytest.mark.parametrize(
    ("end", "status"), [("report_run_failed", ExportStatus.PENDING), ("report_run_canceled", ExportStatus.CANCELED)]
)
def test_a_run_that_never_claimed_is_cancelled_with_its_export_or_replaced_if_it_was_lost(
    end: str,
    status: ExportStatus,
    store: ExportRepository,
    instance: dg.DagsterInstance,
    *,
    sensor: Sensor,
    export: Export,
) -> None:
    """The pending sensor asks for another run in place of a lost one."""
    getattr(instance, end)(start(instance, export))
    sensor.tick()
    assert store.get(export.id).status is status


def test_what_a_person_started_closes_nothing_that_it_did_not_hold(
    store: ExportRepository, instance: dg.DagsterInstance, sensor: Sensor, export: Export
) -> None:
    def make(run_tags: dict[str, str], **family: str) -> dg.DagsterRun:
        job, config = defs.resolve_job_def("entries_export"), {"export_id": export.id}
        return instance.create_run_for_job(job, run_config=config, tags=run_tags, **family)

    by_hand = make({run_tags.EXPORT_ID: export.id})
    again = make(tags.requested_tags(export, 60), parent_run_id=by_hand.run_id, root_run_id=by_hand.run_id)
    unrelated = make({})
    mistyped = make({run_tags.EXPORT_ID: "nonsense", run_tags.ATTEMPT: "one"})
    for run in (by_hand, again, unrelated, mistyped):
        instance.report_run_canceled(run)
    assert sensor.tick() == "no run ended that left its export open"
    assert store.get(export.id).status is ExportStatus.PENDING


def test_an_earlier_run_does_not_close_what_a_later_one_holds_or_has_finished(
    store: ExportRepository, instance: dg.DagsterInstance, sensor: Sensor, export: Export
) -> None:
    earlier, later = start(instance, export), start(instance, export)
    claim, _ = store.claim(export.id, later.run_id)
    instance.report_run_failed(earlier)
    sensor.tick()
    assert store.get(export.id).status is ExportStatus.TRIGGERED
    store.claimed(claim).finish(DELIVERED)
    instance.report_run_failed(later)
    sensor.tick()
    assert store.get(export.id).status is ExportStatus.FINISHED


def test_many_ends_are_recorded_in_one_tick(
    store: ExportRepository, instance: dg.DagsterInstance, sensor: Sensor
) -> None:
    exports = [store.request(new_export())[0] for _ in range(7)]
    for number, export in enumerate(exports):
        run = start(instance, export)
        (instance.report_run_failed if number % 2 else instance.report_run_canceled)(run)
    sensor.tick()
    assert [store.get(export.id).status for export in exports] == [
        ExportStatus.PENDING if number % 2 else ExportStatus.CANCELED for number in range(7)
    ]


def test_without_mongodb_no_end_is_forgotten(
    store: ExportRepository,
    instance: dg.DagsterInstance,
    sensor: Sensor,
    export: Export,
    *,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance.report_run_canceled(start(instance, export))
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://127.0.0.1:1/?directConnection=true&serverSelectionTimeoutMS=50")
    assert sensor.tick().startswith("SourceUnavailable")
    monkeypatch.setenv("VFEXPORT_MONGO_URI", environment["VFEXPORT_MONGO_URI"])
    assert sensor.tick() == f"{export.id} CANCELED"


@pytest.mark.parametrize("claimed", [True, False], ids=["claimed", "not claimed"])
def test_a_passing_error_that_an_op_could_not_record_is_followed_by_another_try(
    store: ExportRepository, instance: dg.DagsterInstance, sensor: Sensor, export: Export, *, claimed: bool
) -> None:
    @dg.op
    def stumble() -> None:
        raise dg.Failure("it broke", metadata=error_report(SourceUnavailable("MongoDB was away")))

    @dg.job
    def broken() -> None:
        stumble()

    run_tags = tags.requested_tags(export, 1_800)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VFEXPORT_AUTO_RETRIES", "2")
        run_id = str(uuid.uuid4())
        if claimed:
            store.claim(export.id, run_id)
        broken.execute_in_process(instance=instance, run_id=run_id, tags=run_tags, raise_on_error=False)
        sensor.tick()
    again = store.get(export.id)
    assert (again.status, again.attempt) == (ExportStatus.PENDING, 2 if claimed else 1)
    assert [attempt.error and attempt.error["code"] for attempt in again.attempts] == ["SourceUnavailable"] * claimed


def test_the_cursor_stays_small(store: ExportRepository, instance: dg.DagsterInstance, sensor: Sensor) -> None:
    for _ in range(3):
        instance.report_run_canceled(start(instance, store.request(new_export())[0]))
    sensor.tick()
    assert set(json.loads(sensor.cursor or "{}")) == {"PIPELINE_CANCELED"}


def test_the_error_that_an_op_could_not_record_comes_from_its_run(
    store: ExportRepository, instance: dg.DagsterInstance, sensor: Sensor, export: Export
) -> None:
    @dg.op
    def stumble() -> None:
        raise dg.Failure("it broke", metadata=STEP_ERROR)

    @dg.job
    def broken() -> None:
        stumble()

    result = broken.execute_in_process(instance=instance, tags=tags.requested_tags(export, 1_800), raise_on_error=False)
    assert not result.success
    sensor.tick()
    failed = store.get(export.id)
    assert (failed.status, failed.error) == (ExportStatus.FAILED, STEP_ERROR)
