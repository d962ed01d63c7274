"""The reaper: exports and runs that disagree, on the real queue and instances with real runs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from bson import ObjectId

from tests.integration.queue_helpers import DELIVERED, ERROR, new_export, queued
from vfexport_core.queue.claim_process import new_claim_id
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services import reconcile_runs, run_tags
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.pending import Unserved
from vfexport_core.services.reconcile_runs import AHEAD, Reconciler, Sightings
from vfexport_core.settings import load_settings
from vfexport_dagster import tags
from vfexport_dagster.definitions import defs
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.runs import DagsterRuns
from vfexport_dagster.sensors import build_reaper_sensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.queue.models import Export

EVENTS = {
    "STARTING": [dg.DagsterEventType.RUN_STARTING],
    "STARTED": [dg.DagsterEventType.RUN_STARTING, dg.DagsterEventType.RUN_START],
    "CANCELING": [dg.DagsterEventType.RUN_STARTING, dg.DagsterEventType.RUN_START, dg.DagsterEventType.RUN_CANCELING],
    "CANCELED": [dg.DagsterEventType.RUN_STARTING, dg.DagsterEventType.RUN_START, dg.DagsterEventType.RUN_CANCELED],
    "NOT_STARTED": [],  # QUEUED needs a code location of its own
}


@pytest.fixture
def export(store: ExportRepository) -> Export:
    return queued(store)


class Reaper:
    """Looks again and again, as the daemon has it, with a clock of ours."""

    def __init__(self, instance: dg.DagsterInstance, store: ExportRepository) -> None:
        self.instance, self.store = instance, store
        self.now = 1_000.0
        self.drift = Sightings(clock=lambda: self.now)

    def look(self, seconds: float = 0) -> list[str]:
        self.now += seconds
        backend = Backend(load_settings(None), database=self.store.database, queue=self.store)
        return list(Reconciler(DagsterRuns(self.instance), backend, self.drift).look())


@pytest.fixture
def reaper(instance: dg.DagsterInstance, store: ExportRepository) -> Reaper:
    return Reaper(instance, store)


def start(instance: dg.DagsterInstance, export: Export, status: str = "NOT_STARTED", **options: Any) -> dg.DagsterRun:
    """Make a run as the pending sensor asks for it."""
    its_tags = (
        tags.requested_tags(export, 1_800) | {"dagster/run_key": run_tags.run_key(export)} | options.pop("tags", {})
    )
    run = instance.create_run_for_job(
        defs.resolve_job_def("entries_export"), run_config={"export_id": export.id}, tags=its_tags, **options
    )
    for event in EVENTS[status]:
        instance.report_dagster_event(dg.DagsterEvent(event.value, run.job_name), run.run_id)
    return run


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status.value


def unserved(instance: dg.DagsterInstance, store: ExportRepository) -> list[tuple[str, int]]:
    """Return which PENDING exports the pending sensor would ask for a run for, and how many of theirs have ended."""
    return [
        (export.id, ended) for export, ended in Unserved(DagsterRuns(instance), Sightings()).among(store.pending(AHEAD))
    ]


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    resources = {"mongo": MongoResource(), "buckets": BucketsResource()}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        return build_reaper_sensor().evaluate_tick(context)


def test_a_tick_ends_what_lost_its_worker_and_says_so(
    store: ExportRepository, instance: dg.DagsterInstance, database: Database[dict[str, Any]]
) -> None:
    export = queued(store)
    run = start(instance, export, "STARTED")
    ExportRepository(database, lease_seconds=0).claim(export.id, run.run_id)
    first = tick(instance)
    assert f"{export.id} FAILED" in first.skip_message
    failed = store.get(export.id)
    assert (failed.status, failed.error and failed.error["code"]) == (ExportStatus.FAILED, "WorkerLost")
    assert run.run_id in str(first.cursor)
    assert tick(instance, first.cursor).skip_message == "no export is late or lost"


def test_without_mongodb_a_tick_says_so(
    store: ExportRepository, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://127.0.0.1:1/?directConnection=true&serverSelectionTimeoutMS=50")
    assert tick(instance).skip_message.startswith("SourceUnavailable")


@pytest.mark.parametrize("end", ["lost", "expired", "cancelled"])
def test_a_run_whose_worker_is_not_heard_of_is_reported_so_that_the_run_queue_goes_on(
    end: str, store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper, export: Export
) -> None:
    run = start(instance, export, "STARTED")
    brief = ExportRepository(store._exports.documents.database, lease_seconds=0)
    brief.claim(export.id, run.run_id)
    assert reaper.look(3_600) == [], "nobody has ended its export"
    if end == "cancelled":
        store.request_cancel(export.id)
    assert store.reaper.reap(0 if end == "expired" else 60_000)
    assert reaper.look() == []
    (told,) = reaper.look(5)
    assert "reported as failed" in told
    assert status_of(instance, run) == "FAILURE"
    assert reaper.look(5) == []


def test_a_lost_run_is_known_by_its_error_when_its_export_goes_on(
    store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper, export: Export
) -> None:
    run = start(instance, export, "STARTED")
    ExportRepository(store._exports.documents.database, lease_seconds=0).claim(export.id, run.run_id)
    store.reaper.reap(60_000)
    store.claim(store.retry(export.id).id, "cli-1")
    reaper.look()
    assert "reported as failed" in reaper.look(5)[0]


@pytest.fixture
def claim_of_a_dead_process() -> str:
    command = "from vfexport_core.queue.claim_process import new_claim_id; print(new_claim_id())"
    return subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.strip()


def claim(store: ExportRepository, export: Export, run: dg.DagsterRun, claim_id: str) -> None:
    store.claim(export.id, run.run_id)
    store.database["exports"].update_one({"_id": ObjectId(export.id)}, {"$set": {"claimId": claim_id}})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_run_whose_process_is_gone_is_ended_before_its_lease_is(
    instance: dg.DagsterInstance, reaper: Reaper, export: Export, claim_of_a_dead_process: str
) -> None:
    run = start(instance, export, "STARTED")
    claim(reaper.store, export, run, claim_of_a_dead_process)
    assert reaper.look() == [], "Dagster may say so itself"
    (told,) = reaper.look(3)
    assert "its process is gone" in told
    failed = reaper.store.get(export.id)
    assert (failed.status, failed.error and failed.error["code"]) == (ExportStatus.FAILED, "WorkerLost")
    assert status_of(instance, run) == "FAILURE"
    assert reaper.look(5) == []


def of_retention(instance: dg.DagsterInstance, claim_id: str, status: str = "STARTED") -> dg.DagsterRun:
    """Make a run that notes that process as the one it works in."""
    run = instance.create_run_for_job(defs.resolve_job_def("retention"))
    instance.add_run_tags(run.run_id, {run_tags.PROCESS: claim_id.replace(claim_id.partition(":")[0], run.run_id)})
    for event in EVENTS[status]:
        instance.report_dagster_event(dg.DagsterEvent(event.value, run.job_name), run.run_id)
    return run


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_run_without_an_export_whose_process_is_gone_gives_its_place_to_the_next(
    instance: dg.DagsterInstance, reaper: Reaper, claim_of_a_dead_process: str
) -> None:
    run = of_retention(instance, claim_of_a_dead_process)
    stopping = of_retention(instance, claim_of_a_dead_process, "CANCELING")
    alive = of_retention(instance, new_claim_id())
    copied = instance.create_run_for_job(defs.resolve_job_def("retention"))
    instance.add_run_tags(copied.run_id, {run_tags.PROCESS: claim_of_a_dead_process})
    instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "retention"), copied.run_id)
    assert reaper.look() == [], "Dagster may say so itself"
    assert reaper.look(3) == [f"run {run.run_id} reported as failed: its process is gone"]
    assert [status_of(instance, one) for one in (run, stopping, alive, copied)] == [
        *("FAILURE", "CANCELING"),
        *("STARTED", "STARTED"),
    ]


@pytest.mark.parametrize("job", ["retention", "ccpa_deletion"])
def test_a_run_without_an_export_notes_its_process(
    job: str, store: ExportRepository, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFEXPORT_RETENTION_DAYS", "30")
    result = defs.resolve_job_def(job).execute_in_process(instance=instance)
    noted = instance.get_run_by_id(result.run_id)
    assert noted is not None
    assert noted.tags[run_tags.PROCESS].split(":")[0] == result.run_id
    assert noted.tags[run_tags.PROCESS].split(":")[1:] == new_claim_id().split(":")[1:]


@pytest.mark.parametrize("status", ["CANCELING", "CANCELED"])
def test_how_a_run_ended_that_was_told_to_stop_is_for_dagster_to_say(
    status: str, instance: dg.DagsterInstance, reaper: Reaper, export: Export, claim_of_a_dead_process: str
) -> None:
    run = start(instance, export, status)
    claim(reaper.store, export, run, claim_of_a_dead_process)
    assert [reaper.look(), reaper.look(30)] == [[], []]
    assert reaper.store.get(export.id).status is ExportStatus.TRIGGERED
    assert status_of(instance, run) == status


@pytest.mark.parametrize("end", ["fail", "expire", "cancel"])
def test_a_run_that_ended_its_export_itself_has_time_to_end(
    end: str, store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper, export: Export
) -> None:
    run = start(instance, export, "STARTED")
    claim, _ = store.claim(export.id, run.run_id)
    getattr(store.claimed(claim), end)(*([ERROR] if end == "fail" else []))
    reaper.look()
    assert reaper.look(reconcile_runs.ENDING_SECONDS - 1) == []
    assert "reported as failed" in reaper.look(1)[0]


def test_a_run_that_has_finished_its_export_is_left_to_end_in_peace(
    store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper, export: Export
) -> None:
    run = start(instance, export, "STARTED")
    store.claimed(store.claim(export.id, run.run_id)[0]).finish(DELIVERED)
    reaper.look()
    assert reaper.look(reconcile_runs.FINISHING_SECONDS - 1) == []
    assert reaper.look(1) != []


GONE: dict[str, Callable[[ExportRepository, str], Any]] = {
    "cancelled": lambda store, export_id: store.request_cancel(export_id),
    "finished elsewhere": lambda store, export_id: store.claimed(store.claim(export_id, "cli-1")[0]).finish(DELIVERED),
    "run elsewhere": lambda store, export_id: store.claim(export_id, "cli-1"),
    "retried": lambda store, export_id: (store.request_cancel(export_id), store.retry(export_id)),
    "gone": lambda store, export_id: store._exports.documents.delete_one({"_id": ObjectId(export_id)}),
}


@pytest.mark.parametrize("change", GONE)
def test_a_queued_run_that_is_not_needed_any_more_is_cancelled(
    change: str,
    store: ExportRepository,
    instance: dg.DagsterInstance,
    reaper: Reaper,
    export: Export,
    *,
    database: Database[dict[str, Any]],
) -> None:
    run = start(instance, export)
    assert reaper.look(3_600) == []
    GONE[change](store, export.id)
    before = list(database.exports.find())
    (told,) = reaper.look()
    assert "cancelled" in told
    assert status_of(instance, run) == "CANCELED"
    assert list(database.exports.find()) == before
    assert reaper.look() == []


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTED"])
def test_what_a_person_started_is_left_alone_until_it_has_claimed(
    status: str, store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper, export: Export
) -> None:
    parent = start(instance, export, "STARTED")
    store.claimed(store.claim(export.id, parent.run_id)[0]).fail(ERROR)
    instance.report_run_failed(parent)
    again = start(instance, export, status, parent_run_id=parent.run_id, root_run_id=parent.run_id)
    other, _ = store.claim(queued(store).id, "cli-1")
    reaper.look()
    assert reaper.look(3_600) == []
    store.claimed(other).finish(DELIVERED)
    claim, _ = store.claim_again(export.id, again.run_id, 1)
    assert reaper.look(3_600) == []
    store.claimed(claim).fail(ERROR)
    reaper.look()
    assert (reaper.look(3_600) != []) == (status == "STARTED")


@pytest.mark.parametrize("status", ["STARTING", "STARTED"])
def test_a_run_that_died_before_it_claimed_its_export_is_replaced(
    status: str, store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper, export: Export
) -> None:
    run = start(instance, export, status)
    other, _ = store.claim(queued(store).id, "cli-1")
    reaper.look()
    assert reaper.look(3_600) == [], "it waits for its turn"
    store.claimed(other).finish(DELIVERED)
    assert reaper.look() == reaper.look(reconcile_runs.CLAIMING_SECONDS - 1) == []
    assert "reported as failed" in reaper.look(1)[0]
    assert status_of(instance, run) == "FAILURE"
    assert store.get(export.id).status is ExportStatus.PENDING
    assert unserved(instance, store) == [(export.id, 1)], "the pending sensor asks for another one"


def test_while_the_queue_is_paused_queued_runs_are_withdrawn_and_those_that_wait_are_left_alone(
    store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper, export: Export
) -> None:
    queued_run, waiting = start(instance, export), start(instance, queued(store), "STARTED")
    store.pause.begin("upgrade", "cli:ann")
    (told,) = reaper.look()
    assert "the queue has been paused" in told
    assert reaper.look(3_600) == []
    assert [status_of(instance, run) for run in (queued_run, waiting)] == ["CANCELED", "STARTED"]
    store.pause.end()
    assert unserved(instance, store) == [(export.id, 1)], "it counts as no failure"
    reaper.look()
    assert "reported as failed" in reaper.look(reconcile_runs.CLAIMING_SECONDS)[0], "it does not look for its turn"


def test_a_run_by_hand_that_died_before_it_had_an_export_does_not_hold_the_queue(
    store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper
) -> None:
    run = instance.create_run_for_job(defs.resolve_job_def("entries_export"), run_config={"campaign_id": "0" * 24})
    for event in EVENTS["STARTED"]:
        instance.report_dagster_event(dg.DagsterEvent(event.value, run.job_name), run.run_id)
    reaper.look()
    assert reaper.look(reconcile_runs.FINISHING_SECONDS) != []
    assert status_of(instance, run) == "FAILURE"


def test_runs_that_are_not_of_exports_are_none_of_its_business(
    store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper
) -> None:
    run = instance.create_run_for_job(dg.GraphDefinition("any").to_job())
    reaper.look()
    assert reaper.look(3_600) == []
    assert status_of(instance, run) == "NOT_STARTED"


def test_an_export_whose_runs_always_end_before_they_claim_it_fails(
    store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper, export: Export
) -> None:
    for _ in range(reconcile_runs.MOST_RUNS):
        assert reaper.look(3_600) == []
        instance.report_run_failed(start(instance, store.get(export.id)))
    assert reaper.look() == reaper.look(reconcile_runs.REQUESTING_SECONDS - 1) == [], "the last end is recorded first"
    assert "FAILED" in reaper.look(1)[0]
    failed = store.get(export.id)
    assert (failed.status, failed.error and failed.error["code"]) == (ExportStatus.FAILED, "RunFailed")
    retried = store.retry(export.id)
    assert unserved(instance, store) == [(retried.id, 0)]


def test_a_clock_that_is_set_back_delays_but_breaks_nothing(
    store: ExportRepository, instance: dg.DagsterInstance, reaper: Reaper, export: Export
) -> None:
    run = start(instance, export, "STARTED")
    store.claimed(store.claim(export.id, run.run_id)[0]).expire()
    reaper.look()
    assert reaper.look(-500) == []
    assert reaper.look(reconcile_runs.FINISHING_SECONDS) != []


def test_several_reapers_do_no_harm(store: ExportRepository, instance: dg.DagsterInstance, export: Export) -> None:
    run = start(instance, export, "STARTED")
    store.claimed(store.claim(export.id, run.run_id)[0]).expire()
    waiting = queued(store)
    instance.report_run_failed(start(instance, waiting))
    reapers = [Reaper(instance, store) for _ in range(3)]
    for seconds in (0, 60, 60):
        for reaper in reapers:
            reaper.look(seconds)
    assert status_of(instance, run) == "FAILURE"
    assert store.get(waiting.id).status is ExportStatus.PENDING
    assert store.request(new_export())[1]
