"""The pending sensor: what it asks for, on the real queue and an instance with real runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from bson import ObjectId

from tests.integration.queue_helpers import DELIVERED, new_export
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services import run_tags
from vfexport_core.services.pending import Unserved
from vfexport_core.services.reconcile_runs import AHEAD, Sightings
from vfexport_dagster import tags
from vfexport_dagster.definitions import defs
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.runs import DagsterRuns
from vfexport_dagster.sensors import build_pending_sensor, plan_requests
from vfexport_dagster.session import RESOURCES

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository


@pytest.fixture
def tick(instance: dg.DagsterInstance, environment: dict[str, str]) -> Any:
    """Evaluates the sensor once; gives its requests, or why there are none."""

    def evaluate(tick_seconds: float = 0, **options: Any) -> tuple[list[dg.RunRequest], str | None]:
        jobs = {spec: defs.resolve_job_def(f"{spec}_export") for spec in ("entries", "scoring")}
        sensor = build_pending_sensor(jobs, tick_seconds=tick_seconds)
        repository = dg.Definitions(sensors=[sensor], jobs=list(jobs.values()), resources=RESOURCES)
        with dg.build_sensor_context(
            instance=options.get("instance", instance), resources={"mongo": MongoResource()}, definitions=repository
        ) as context:
            data = sensor.evaluate_tick(context)
        return list(data.run_requests or []), data.skip_message

    return evaluate


def queue(store: ExportRepository, count: int, **fields: Any) -> list[Export]:
    return [store.request(new_export(**fields))[0] for _ in range(count)]


def start(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.DagsterRun:
    """Make the run that a request asks for, as the daemon does."""
    return instance.create_run_for_job(
        defs.resolve_job_def(request.job_name or ""),
        run_config=request.run_config,
        tags={**request.tags, "dagster/run_key": request.run_key or ""},
    )


def test_pending_exports_are_requested_oldest_first_and_once_each(
    store: ExportRepository, tick: Any, instance: dg.DagsterInstance
) -> None:
    exports = queue(store, 3) + queue(store, 1, export_type="scoring")
    requests, _ = tick()
    assert [request.run_key for request in requests] == [f"{export.id}:1" for export in exports]
    assert [request.job_name for request in requests] == [*["entries_export"] * 3, "scoring_export"]
    assert requests[0].run_config == {"export_id": exports[0].id}
    for request in requests:
        start(instance, request)
    requests, reason = tick()
    assert requests == []
    assert reason.startswith("entries of Summer Tour: position 1, starts in about 0:0")
    assert "scoring of Summer Tour: position 4, starts in about " in reason


def test_while_the_queue_is_paused_nothing_is_asked_for_and_the_tick_says_why(
    store: ExportRepository, tick: Any
) -> None:
    (export,) = queue(store, 1)
    store.pause.begin("MongoDB is upgraded", "cli:ann")
    requests, reason = tick()
    assert requests == []
    assert reason is not None
    assert reason.startswith("the queue has been paused since ")
    assert reason.endswith("by cli:ann: MongoDB is upgraded")
    store.pause.end()
    assert [request.run_key for request in tick()[0]] == [f"{export.id}:1"]


def test_a_request_is_tagged_so_that_its_run_is_found_by_any_of_it(store: ExportRepository, tick: Any) -> None:
    (export,) = queue(store, 1, correlation_id="corr-9")
    ((request,), _) = tick()
    assert request.tags == {
        run_tags.EXPORT_ID: export.id,
        run_tags.CAMPAIGN_ID: export.campaign_id,
        run_tags.CAMPAIGN: export.campaign_name,
        run_tags.ATTEMPT: "1",
        run_tags.CORRELATION_ID: "corr-9",
        "dagster/sensor_name": "pending_exports",  # Dagster's own addition
        "dagster/max_runtime": "2800",  # and what clocks may be apart
        "dagster/priority": str(-round(export.date.created.timestamp() * 1000)),
    }


def test_older_exports_have_a_higher_priority_and_unknown_ones_the_lowest(store: ExportRepository, tick: Any) -> None:
    """A later attempt of an old export goes before younger ones that are already in Dagster's queue (L2)."""
    queue(store, 3)
    requests, _ = tick()
    priorities = [int(request.tags[tags.PRIORITY]) for request in requests]
    assert priorities == sorted(priorities, reverse=True)
    job = defs.resolve_job_def("entries_export")
    assert int(job.run_tags[tags.PRIORITY]) < min(priorities)


@pytest.mark.parametrize("end", ["report_run_failed", "report_run_canceled"])
def test_a_run_that_has_just_ended_is_not_replaced_before_its_end_may_have_been_recorded(
    end: str, store: ExportRepository, tick: Any, instance: dg.DagsterInstance
) -> None:
    queue(store, 1)
    ((request,), _) = tick()
    getattr(instance, end)(start(instance, request))
    assert tick()[0] == []


def unserved(instance: dg.DagsterInstance, store: ExportRepository, *, after: float = 0) -> list[tuple[str, int]]:
    """Return which PENDING exports need a run, looked at twice, and how many of their runs have ended."""
    moments = iter([0.0, after])
    now = next(moments)
    ended = Sightings(clock=lambda: now)
    Unserved(DagsterRuns(instance), ended).among(store.pending(AHEAD))
    now = next(moments)
    due = Unserved(DagsterRuns(instance), ended).among(store.pending(AHEAD))
    return [(export.id, runs) for export, runs in due]


def test_an_export_whose_run_ended_without_claiming_it_gets_another_by_another_key(
    store: ExportRepository, tick: Any, instance: dg.DagsterInstance
) -> None:
    (export,) = queue(store, 1)
    ((request,), _) = tick()
    keys = [request.run_key]
    for ended in (1, 2):
        run = start(instance, request)
        assert unserved(instance, store, after=3_600) == [], "it has a run that lives"
        instance.report_run_failed(run)
        assert unserved(instance, store, after=3_600) == [(export.id, ended)]
        (request,) = plan_requests([(export, ended)], {"entries": "entries_export"}, 60)
        keys.append(request.run_key)
    assert keys == [f"{export.id}:1", f"{export.id}:1:1", f"{export.id}:1:2"]
    instance.report_run_failed(start(instance, request))
    assert unserved(instance, store, after=3_600) == [], "there is something wrong with its runs"


def test_a_run_that_was_lost_is_replaced_at_once(
    store: ExportRepository, tick: Any, instance: dg.DagsterInstance
) -> None:
    (export,) = queue(store, 1)
    run = start(instance, tick()[0][0])
    runs = DagsterRuns(instance)
    (seen,) = runs.live_runs()
    runs.report_lost(seen, "its process is gone")
    assert [request.run_key for request in tick()[0]] == [f"{export.id}:1:1"]
    assert instance.get_run_by_id(run.run_id).tags[run_tags.LOST] == "true"
    told = [event.message for event in instance.all_logs(run.run_id, dg.DagsterEventType.RUN_FAILURE)]
    assert [text for text in told if "Ended: its process is gone." in text], "which process ends it differs"


def test_a_run_by_hand_does_not_stand_in_for_a_requested_one(
    store: ExportRepository, tick: Any, instance: dg.DagsterInstance
) -> None:
    """It may end without claiming; and the request makes sure of the export's place in Dagster's queue."""
    (export,) = queue(store, 1)
    job = defs.resolve_job_def("entries_export")
    instance.create_run_for_job(job, run_config={"export_id": export.id}, tags={run_tags.EXPORT_ID: export.id})
    assert [request.run_key for request in tick()[0]] == [f"{export.id}:1"]


def test_a_retried_export_is_requested_by_a_new_key(
    store: ExportRepository, tick: Any, instance: dg.DagsterInstance
) -> None:
    (export,) = queue(store, 1)
    start(instance, tick()[0][0])
    store.claimed(store.claim(export.id, "run-1")[0]).fail({"code": "Boom", "message": "it broke", "payload": None})
    assert tick()[0] == []
    store.retry(export.id)
    ((request,), _) = tick()
    assert request.run_key == f"{export.id}:2"
    assert request.tags[run_tags.ATTEMPT] == "2"


def test_when_dagsters_storage_was_wiped_what_waits_is_requested_again(
    store: ExportRepository, tick: Any, instance: dg.DagsterInstance
) -> None:
    (export,) = queue(store, 1)
    start(instance, tick()[0][0])
    with dg.DagsterInstance.ephemeral() as wiped:
        requests, _ = tick(instance=wiped)
    assert [request.run_key for request in requests] == [f"{export.id}:1"]


def test_only_pending_exports_are_requested_and_not_without_limit(store: ExportRepository, tick: Any) -> None:
    running, cancelled, finished, *waiting = queue(store, AHEAD + 5)
    store.claimed(store.claim(finished.id, "run-1")[0]).finish(DELIVERED)
    store.claim(running.id, "run-2")
    store.close_run(cancelled.id, "run-3", ExportStatus.CANCELED, None, attempt=1)
    requests, _ = tick()
    assert [request.run_key for request in requests] == [f"{export.id}:1" for export in waiting[:AHEAD]]


def test_a_type_without_a_job_here_holds_nobody_up(
    store: ExportRepository, tick: Any, database: Database[dict[str, Any]]
) -> None:
    odd, even = queue(store, 2)
    database["exports"].update_one({"_id": ObjectId(odd.id)}, {"$set": {"exportType": "codes"}})
    requests, _ = tick()
    assert [request.run_key for request in requests] == [f"{even.id}:1"]
    store.close_run(even.id, "run-1", ExportStatus.CANCELED, None, attempt=1)
    assert "nothing runs these types here: codes" in str(tick()[1])


def test_a_tick_watches_the_queue_and_returns_as_soon_as_there_is_work(
    store: ExportRepository, tick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFEXPORT_POLLING_INTERVAL_MILLIS", "10")
    looked, queued = threading.Event(), []
    look = Unserved.among

    def look_and_tell(unserved: Unserved, exports: Any) -> Any:
        looked.set()
        return look(unserved, exports)

    monkeypatch.setattr(Unserved, "among", look_and_tell)

    def queue_after_the_first_look() -> None:
        looked.wait(60)
        queued.extend(queue(store, 1))

    thread = threading.Thread(target=queue_after_the_first_look)
    thread.start()
    requests, reason = tick(tick_seconds=60)
    thread.join()
    assert [request.run_key for request in requests] == [f"{queued[0].id}:1"], reason


def test_without_mongodb_a_tick_says_so_and_the_next_one_works(
    store: ExportRepository, tick: Any, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (export,) = queue(store, 1)
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://127.0.0.1:1/?directConnection=true&serverSelectionTimeoutMS=50")
    requests, reason = tick()
    assert requests == []
    assert str(reason).startswith("SourceUnavailable: MongoDB failed on collection exports (")
    monkeypatch.setenv("VFEXPORT_MONGO_URI", environment["VFEXPORT_MONGO_URI"])
    assert [request.run_key for request in tick()[0]] == [f"{export.id}:1"]


def test_the_plan_is_made_of_nothing_but_its_arguments(store: ExportRepository) -> None:
    exports = queue(store, 2)
    assert plan_requests([], {"entries": "entries_export"}, 60) == []
    assert plan_requests([(export, 0) for export in exports], {}, 60) == []
    unserved = [(export, 0) for export in exports]
    plan = plan_requests(unserved, {"entries": "other_job"}, 0.2)
    assert [request.job_name for request in plan] == ["other_job"] * 2
    assert {request.tags[tags.MAX_RUNTIME] for request in plan} == {"1"}
