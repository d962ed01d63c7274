"""Re-execute, in the Dagster UI: all steps or from the failure, by the state that the export is in (L8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from tests.integration.queue_helpers import new_export, queued
from tests.s3_faults import ACCESS_DENIED
from vfexport_core.errors import SourceUnavailable
from vfexport_core.queue.models import Export, ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services import run_tags
from vfexport_core.services.run_attempt import Worker
from vfexport_dagster import tags
from vfexport_dagster.definitions import defs

if TYPE_CHECKING:
    from tests.dagster.conftest import Buckets, Runner
    from tests.s3_proxy import S3Proxy


def entries_job() -> dg.JobDefinition:
    return defs.resolve_job_def("entries_export")


def again(runner: Runner, run_id: str, *, from_failure: bool = False) -> dg.JobExecutionResult:
    """Re-execute a run, as the UI does."""
    options = dg.ReexecutionOptions(run_id)
    if from_failure:
        options = dg.ReexecutionOptions.from_failure(run_id, runner.instance)
    with dg.execute_job(
        dg.reconstructable(entries_job), runner.instance, reexecution_options=options, raise_on_error=False
    ) as result:
        return result


def failure(result: dg.JobExecutionResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data
    return f"{data.error.to_string() if data.error else ''}\n{data.user_failure_data}"


def fail(runner: Runner, export: Export, proxy: S3Proxy) -> Any:
    proxy.fail("PutObject", ACCESS_DENIED)
    result = runner.run_requested(export)
    proxy.heal()
    assert not result.success
    return result


@pytest.mark.parametrize("from_failure", [False, True])
def test_a_failed_export_is_delivered_in_a_new_attempt(
    runner: Runner, store: ExportRepository, export: Export, s3_proxy: S3Proxy, *, buckets: Buckets, from_failure: bool
) -> None:
    failed = fail(runner, export, s3_proxy)
    result = again(runner, failed.run_id, from_failure=from_failure)
    assert result.success
    finished = store.get(export.id)
    assert (finished.status, finished.attempt, finished.run_id) == (ExportStatus.FINISHED, 2, result.run_id)
    assert [attempt.status for attempt in finished.attempts] == [ExportStatus.FAILED, ExportStatus.FINISHED]
    assert finished.error is None
    assert buckets.everything() == list(finished.keys)
    run = runner.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (run.tags[run_tags.EXPORT_ID], run.tags[run_tags.ATTEMPT]) == (export.id, "2")
    earlier = runner.instance.get_run_by_id(failed.run_id)
    assert earlier is not None
    assert earlier.tags[run_tags.ERROR] == (finished.attempts[0].error or {})["code"]
    assert earlier.tags[run_tags.SUPERSEDED] == f"attempt 2, run {result.run_id[:8]}"
    assert run_tags.SUPERSEDED not in run.tags


def test_what_could_not_be_recorded_is_delivered_again_from_the_failure_on(
    runner: Runner, store: ExportRepository, export: Export, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: Any) -> None:
        raise SourceUnavailable("MongoDB failed")

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "finish", stumble)
        failed = runner.run_requested(export)
    assert store.get(export.id).status is ExportStatus.FAILED
    assert buckets.everything() == []
    result = again(runner, failed.run_id, from_failure=True)
    assert result.success
    assert {event.step_key for event in result.all_events if event.is_step_start} == {"finish"}
    finished = store.get(export.id)
    assert (finished.status, finished.attempt) == (ExportStatus.FINISHED, 2)
    assert buckets.everything() == list(finished.keys)


@pytest.mark.parametrize("end", ["expire", "cancel"])
def test_an_expired_or_cancelled_export_too(runner: Runner, store: ExportRepository, export: Export, end: str) -> None:
    run = runner.instance.create_run_for_job(
        entries_job(), run_config={"export_id": export.id}, tags=tags.requested_tags(export, 60)
    )
    getattr(store.claimed(store.claim(export.id, run.run_id)[0]), end)()
    runner.instance.report_run_failed(run)
    assert again(runner, run.run_id).success
    assert (store.get(export.id).status, store.get(export.id).attempt) == (ExportStatus.FINISHED, 2)


def test_a_finished_export_is_delivered_again(
    runner: Runner, store: ExportRepository, export: Export, buckets: Buckets
) -> None:
    first = runner.run_requested(export)
    before = store.get(export.id)
    assert again(runner, first.run_id).success
    finished = store.get(export.id)
    assert (finished.status, finished.attempt) == (ExportStatus.FINISHED, 2)
    assert finished.attempts[:1] == before.attempts
    assert set(finished.sha256.values()) == set(before.sha256.values())
    assert sorted(buckets.everything()) == sorted([*before.keys, *finished.keys])


def test_a_run_by_hand_has_its_own_export_again(runner: Runner, store: ExportRepository, campaign_id: str) -> None:
    first = runner.run("entries_export", {"campaign_id": campaign_id})
    assert again(runner, first.run_id).success
    (export,) = store.list()
    assert (export.status, export.attempt) == (ExportStatus.FINISHED, 2)


@pytest.mark.parametrize("state", ["PENDING", "TRIGGERED"])
@pytest.mark.parametrize("from_failure", [False, True])
def test_of_what_is_active_it_fails_says_so_and_changes_nothing(
    runner: Runner, store: ExportRepository, export: Export, s3_proxy: S3Proxy, *, state: str, from_failure: bool
) -> None:
    failed = fail(runner, export, s3_proxy)
    store.retry(export.id)
    if state == "TRIGGERED":
        store.claim(export.id, "another-run")
    before = store.get(export.id)
    result = again(runner, failed.run_id, from_failure=from_failure)
    assert not result.success
    assert f"export {export.id} is {state}" in failure(result)
    assert store.get(export.id) == before


def test_pressed_twice_it_is_delivered_once(
    runner: Runner, store: ExportRepository, export: Export, s3_proxy: S3Proxy
) -> None:
    """The second run was asked for while the first was waiting, and starts when that has delivered."""
    failed = fail(runner, export, s3_proxy)
    parent = runner.instance.get_run_by_id(failed.run_id)
    assert parent is not None
    second = runner.instance.create_run_for_job(
        entries_job(), run_config=parent.run_config, parent_run_id=parent.run_id, root_run_id=parent.run_id
    )
    assert again(runner, failed.run_id).success
    before = store.get(export.id)
    with pytest.raises(dg.Failure, match="has had attempt 2"):
        _execute(runner, second)
    assert store.get(export.id) == before


def _execute(runner: Runner, run: dg.DagsterRun) -> None:
    from dagster._core.execution.api import execute_run

    execute_run(dg.reconstructable(entries_job), run, runner.instance, raise_on_error=True)


def test_it_waits_for_its_turn_and_a_dead_run_does_not_keep_it(
    runner: Runner, store: ExportRepository, export: Export, s3_proxy: S3Proxy
) -> None:
    failed = fail(runner, export, s3_proxy)
    brief = ExportRepository(store._exports.documents.database, lease_seconds=0)
    dead, _ = brief.claim(queued(store).id, "dead-run")
    assert again(runner, failed.run_id).success
    assert store.get(export.id).status is ExportStatus.FINISHED
    lost = store.get(dead.export_id)
    assert (lost.status, lost.error and lost.error["code"]) == (ExportStatus.FAILED, "WorkerLost")


def test_an_equal_export_in_the_queue_is_in_the_way(
    runner: Runner, store: ExportRepository, export: Export, s3_proxy: S3Proxy
) -> None:
    failed = fail(runner, export, s3_proxy)
    equal, _ = store.request(new_export(campaign_id=export.campaign_id))
    store.claim(equal.id, "another-run")
    before = store.get(export.id)
    result = again(runner, failed.run_id)
    assert f"export {equal.id} of the same campaign" in failure(result)
    assert store.get(export.id) == before


def test_an_export_that_is_cancelled_while_it_runs_is_cancelled_by_its_run(
    runner: Runner, store: ExportRepository, export: Export, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Worker.count

    def cancel_and_count(worker: Worker) -> int | None:
        store.request_cancel(export.id)
        return count(worker)

    monkeypatch.setattr(Worker, "count", cancel_and_count)
    result = runner.run_requested(export)
    assert not result.success
    cancelled = store.get(export.id)
    assert (cancelled.status, cancelled.error) == (ExportStatus.CANCELED, None)
    assert buckets.everything() == []
