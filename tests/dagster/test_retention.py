"""The retention job: it lists unless it is told to apply, and takes Dagster's own old runs away as well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from tests.integration.queue_helpers import ERROR, queued, triggered
from vfexport_core.catalog import find_spec
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services import retention
from vfexport_core.services.retention import WORK_TIME, WorkTime
from vfexport_dagster import tags
from vfexport_dagster.definitions import defs
from vfexport_dagster.maintenance import RETENTION_JOB
from vfexport_dagster.runs import DagsterRuns

if TYPE_CHECKING:
    import pytest
    from pymongo.database import Database

    from tests.dagster.conftest import Runner
    from vfexport_core.queue.repository import ExportRepository


def config(**options: Any) -> dict[str, Any]:
    return {"ops": {"take_away": {"config": options}}}


def test_it_lists_first_and_takes_away_when_it_is_told_to(
    runner: Runner, store: ExportRepository, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = triggered(store)
    store.claimed(claim).fail(ERROR)
    old = datetime(2020, 1, 1, tzinfo=UTC)
    database.exports.update_many({}, {"$set": dict.fromkeys(["date.created", "date.failed"], old)})
    off = runner.run(RETENTION_JOB, config())
    assert "VFEXPORT_RETENTION_DAYS is not set" in runner.failure(off)
    monkeypatch.setenv("VFEXPORT_RETENTION_DAYS", "30")
    result = runner.run(RETENTION_JOB, config())
    assert result.success
    assert any(f"export {claim.export_id} (entries): would be taken away" in line for line in runner.log(result))
    assert store.get(claim.export_id).status is ExportStatus.FAILED
    assert runner.run(RETENTION_JOB, config(apply=True)).success
    assert store.list() == []


def test_runs_that_ended_long_ago_are_found_and_those_that_go_on_are_not(instance: dg.DagsterInstance) -> None:
    job = defs.resolve_job_def("entries_export")
    ended, going_on = instance.create_run_for_job(job), instance.create_run_for_job(job)
    instance.report_run_failed(ended)
    now, history = datetime.now(UTC), DagsterRuns(instance)
    assert [*history.ended_before(now + timedelta(minutes=1))] == [ended.run_id]
    assert [*history.ended_before(now - timedelta(days=1))] == []
    assert instance.get_run_by_id(going_on.run_id) is not None


def fail_long_ago(store: ExportRepository, database: Database[dict[str, Any]], count: int) -> None:
    """Put so many exports there that are past any time of retention."""
    for _ in range(count):
        store.claimed(triggered(store)).fail(ERROR)
    old = datetime(2020, 1, 1, tzinfo=UTC)
    database.exports.update_many({}, {"$set": dict.fromkeys(["date.created", "date.failed"], old)})


def test_a_run_works_for_its_time_and_leaves_the_rest_to_the_next(
    runner: Runner, store: ExportRepository, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_long_ago(store, database, 2)
    monkeypatch.setenv("VFEXPORT_RETENTION_DAYS", "30")
    monkeypatch.setattr(retention, "WORK_TIME", WorkTime(0.0, 0.0))
    for left in (1, 0):
        result = runner.run(RETENTION_JOB, config(apply=True))
        assert result.success
        assert any("what is left comes next time" in line for line in runner.log(result))
        assert len(store.list()) == left


def test_it_works_for_less_while_an_export_waits(
    runner: Runner, store: ExportRepository, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_long_ago(store, database, 3)
    waiting = queued(store)
    monkeypatch.setenv("VFEXPORT_RETENTION_DAYS", "30")
    monkeypatch.setattr(retention, "WORK_TIME", WorkTime(WORK_TIME.seconds, 0.0))
    result = runner.run(RETENTION_JOB, config(apply=True))
    assert any("or an export waits" in line for line in runner.log(result))
    assert len(store.list()) == 3
    store.request_cancel(waiting.id)
    assert runner.run(RETENTION_JOB, config(apply=True)).success
    assert [export.id for export in store.list()] == [waiting.id]


def test_an_export_that_could_not_begin_is_not_waited_for(store: ExportRepository) -> None:
    is_over = WorkTime(3_600.0, 0.0).until_over(store)
    assert not is_over()
    export = queued(store)
    assert is_over()
    store.pause.begin("a restore", "ann")
    assert not is_over(), "the queue is paused"
    store.pause.end()
    store.breakers.trip(find_spec(export.export_type).bucket)
    assert not is_over(), "its bucket hangs"


def test_it_stands_behind_every_export_and_does_not_hold_the_place_for_long() -> None:
    job = defs.resolve_job_def(RETENTION_JOB)
    assert int(job.tags[tags.PRIORITY]) < int(tags.LAST)
    assert WORK_TIME.seconds < int(job.tags[tags.MAX_RUNTIME]) <= 600


def test_its_schedule_is_off_and_applies() -> None:
    (schedule,) = defs.get_repository_def().schedule_defs
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    with dg.build_schedule_context(scheduled_execution_time=datetime.now(UTC)) as context:
        (request,) = schedule.evaluate_tick(context).run_requests
    assert request.run_config["ops"] == config(apply=True)["ops"]
