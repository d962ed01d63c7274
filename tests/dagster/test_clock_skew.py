"""Clocks that are a quarter of an hour apart end nothing: only MongoDB's decides about an export.

A run's start is told by the clock of its own machine, its end and every look at it by those of others; here by the
timestamps of the events that a real instance keeps.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._daemon.monitoring.run_monitoring import check_run_timeout

from tests.integration.queue_helpers import queued
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services.pending import Unserved
from vfexport_core.services.reconcile_runs import AHEAD, REQUESTING_SECONDS, Sightings
from vfexport_dagster.definitions import defs
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.runs import DagsterRuns
from vfexport_dagster.sensors import build_outcome_sensor, build_pending_sensor
from vfexport_dagster.session import RESOURCES

if TYPE_CHECKING:
    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository

QUARTER = 15 * 60
TIMEOUT_SECONDS = 300
EITHER_WAY = pytest.mark.parametrize("skew", [-QUARTER, QUARTER], ids=["behind", "ahead"])


@pytest.fixture
def export(store: ExportRepository) -> Export:
    return queued(store)


@pytest.fixture
def request_of(
    instance: dg.DagsterInstance, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, export: Export
) -> dg.RunRequest:
    """Return what the pending sensor asks for, with a timeout of five minutes."""
    monkeypatch.setenv("VFEXPORT_TIMEOUT_MILLIS", str(TIMEOUT_SECONDS * 1000))
    jobs = {"entries": defs.resolve_job_def("entries_export")}
    sensor = build_pending_sensor(jobs, tick_seconds=0)
    repository = dg.Definitions(sensors=[sensor], jobs=list(jobs.values()), resources=RESOURCES)
    with dg.build_sensor_context(
        instance=instance, resources={"mongo": MongoResource()}, definitions=repository
    ) as context:
        ((request,),) = [sensor.evaluate_tick(context).run_requests]
    return request


@pytest.fixture
def run(instance: dg.DagsterInstance, request_of: dg.RunRequest) -> dg.DagsterRun:
    return instance.create_run_for_job(
        defs.resolve_job_def("entries_export"), run_config=request_of.run_config, tags=request_of.tags
    )


def tell(instance: dg.DagsterInstance, run: dg.DagsterRun, what: dg.DagsterEventType, moment: float) -> None:
    """Report an event as a process whose clock says `moment`."""
    instance.report_dagster_event(dg.DagsterEvent(what.value, run.job_name), run.run_id, timestamp=moment)


def record_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.RunRecord:
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    return record


@EITHER_WAY
def test_dagsters_monitoring_leaves_a_run_alone_that_has_all_of_its_time(
    skew: int, instance: dg.DagsterInstance, run: dg.DagsterRun
) -> None:
    tell(instance, run, dg.DagsterEventType.RUN_START, time.time() - TIMEOUT_SECONDS + skew)
    check_run_timeout(instance, record_of(instance, run), logging.getLogger(__name__), 90_000.0)
    assert record_of(instance, run).dagster_run.status is dg.DagsterRunStatus.STARTED


@EITHER_WAY
def test_the_end_of_a_run_by_other_clocks_expires_no_export(
    skew: int, store: ExportRepository, instance: dg.DagsterInstance, export: Export, *, run: dg.DagsterRun
) -> None:
    """Dagster took it for too long, in its first seconds by MongoDB's clock."""
    tell(instance, run, dg.DagsterEventType.RUN_START, time.time() + skew)
    store.claim(export.id, run.run_id)
    tell(instance, run, dg.DagsterEventType.RUN_FAILURE, time.time() + skew + 10 * QUARTER)
    with dg.build_sensor_context(instance=instance, resources={"mongo": MongoResource()}) as context:
        build_outcome_sensor().evaluate_tick(context)
    failed = store.get(export.id)
    assert (failed.status, failed.error and failed.error["code"]) == (ExportStatus.FAILED, "WorkerLost")


@EITHER_WAY
def test_a_run_that_ended_before_it_claimed_is_replaced_after_the_same_time(
    skew: int, store: ExportRepository, instance: dg.DagsterInstance, run: dg.DagsterRun
) -> None:
    tell(instance, run, dg.DagsterEventType.RUN_FAILURE, time.time() + skew)
    now = 0.0
    ended = Sightings(clock=lambda: now)

    def due() -> list[Any]:
        return Unserved(DagsterRuns(instance), ended).among(store.pending(AHEAD))

    assert due() == []
    now = REQUESTING_SECONDS - 1
    assert due() == []
    now = REQUESTING_SECONDS
    assert len(due()) == 1
