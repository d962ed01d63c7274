"""How a run waits for its turn, and what it does when it loses its place: on the real queue, with a clock of ours."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from tests.api_client import insert_campaign
from tests.integration.queue_helpers import DELIVERED, ERROR, new_export
from vfexport_core.errors import ExportNotClaimable, QueueBusy, QueuePaused
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services import run_tags
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.claim import WaitPolicy
from vfexport_core.services.launch import Launch
from vfexport_core.services.run_claim import RunClaim, Skipped
from vfexport_core.settings import load_settings
from vfexport_core.telemetry.progress import ProgressLog
from vfexport_dagster import tags
from vfexport_dagster.runs import RecordedRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.queue.models import Export


@pytest.fixture
def export(store: ExportRepository) -> Export:
    return store.request(new_export())[0]


def backend_of(store: ExportRepository) -> Backend:
    """What core works with on this queue; the settings name no servers that anything here would ask."""
    return Backend(load_settings(None), database=store._exports.documents.database, queue=store)


def claiming(
    instance: dg.DagsterInstance,
    store: ExportRepository,
    *,
    seconds: float = 60,
    sleep: Callable[[float], None] = lambda _: None,
    run_tags: dict[str, str] | None = None,
) -> tuple[RunClaim, list[str]]:
    """A run's claim; its clock goes on by a second each time that somebody looks at it."""
    run = instance.create_run_for_job(dg.GraphDefinition("any").to_job(), tags=run_tags or {})
    ticks, lines = itertools.count(), list[str]()
    policy = WaitPolicy(1, 60_000, seconds, clock=lambda: next(ticks), sleep=sleep)
    return RunClaim(RecordedRun(instance, run), backend_of(store), policy, lines.append), lines


def test_a_run_waits_while_another_export_runs_and_then_has_its_whole_time(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export
) -> None:
    other = store.claim(store.request(new_export())[0].id, "cli-1")[0]
    looks = itertools.count()

    def finish_at_the_third_look(_: float) -> None:
        if next(looks) == 2:
            store.claimed(other).finish(DELIVERED)

    claim, lines = claiming(instance, store, sleep=finish_at_the_third_look)
    held, _ = claim.take(export)
    assert store.get(export.id).run_id == claim.run.about.run_id == held.run_id
    assert [line for line in lines if "waiting" in line] == [f"waiting: export {other.export_id} is TRIGGERED"]
    run = instance.get_run_by_id(claim.run.about.run_id)
    assert run is not None
    assert int(run.tags[tags.MAX_RUNTIME]) > 60, "what it spent on waiting is not counted"


def test_of_two_processes_of_one_run_the_second_waits_until_there_is_nothing_to_do(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export
) -> None:
    first, _ = claiming(instance, store, run_tags=tags.requested_tags(export, 60))
    held, _ = first.take(export)
    twin = ExportRepository(store._exports.documents.database)

    def finish(_: float) -> None:
        store.claimed(held).finish(DELIVERED)

    second = dataclasses.replace(
        first, backend=backend_of(twin), policy=dataclasses.replace(first.policy, sleep=finish)
    )
    with pytest.raises(Skipped, match="is FINISHED"):
        second.take(export)


def test_a_second_process_of_a_run_starts_no_attempt_and_no_export_of_its_own(
    store: ExportRepository, instance: dg.DagsterInstance, database: Database[dict[str, Any]]
) -> None:
    """Dagster may start a run twice, also one that a person asked for: the second one finds the work done."""
    campaign = insert_campaign(database)
    launch = Launch(export_type="entries", campaign_id=campaign)
    first, _ = claiming(instance, store)
    held, _ = first.take(first.find_or_request(launch))
    twin = dataclasses.replace(first, backend=backend_of(ExportRepository(database)))
    store.claimed(held).finish(DELIVERED)
    with pytest.raises(Skipped, match="is FINISHED"):
        twin.take(twin.find_or_request(launch))
    assert [export.attempt for export in store.list()] == [1]


@pytest.mark.parametrize("when", ["while it runs", "after its end"])
def test_a_second_process_of_a_reexecution_starts_no_attempt_of_its_own(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export, when: str
) -> None:
    store.claimed(store.claim(export.id, "run-1")[0]).finish(DELIVERED)
    copied = {run_tags.EXPORT_ID: export.id, "dagster/parent_run_id": "p", "dagster/root_run_id": "p"}
    run = instance.create_run_for_job(
        dg.GraphDefinition("any").to_job(), tags=copied, parent_run_id="p", root_run_id="p"
    )
    first = dataclasses.replace(claiming(instance, store)[0], run=RecordedRun(instance, run))
    held, _ = first.take(store.get(export.id))
    assert held.attempt == 2

    def finish(_: float) -> None:
        store.claimed(held).finish(DELIVERED)

    if when == "after its end":
        finish(0)
    policy = dataclasses.replace(first.policy, sleep=finish)
    twin = dataclasses.replace(
        first, backend=backend_of(ExportRepository(store._exports.documents.database)), policy=policy
    )
    with pytest.raises(Skipped, match="is FINISHED, in attempt 2"):
        twin.take(store.get(export.id))


def test_the_wait_is_bounded_and_leaves_the_export_queued(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export
) -> None:
    store.claim(store.request(new_export())[0].id, "cli-1")
    claim, _ = claiming(instance, store, seconds=5)
    with pytest.raises(QueueBusy):
        claim.take(export)
    assert store.get(export.id).status is ExportStatus.PENDING


@pytest.mark.parametrize("by", ["sensor", "hand"])
def test_a_run_of_a_queue_that_is_paused_ends_well_and_leaves_its_export_to_another_run(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export, by: str
) -> None:
    store.pause.begin("upgrade", "cli:ann")
    claim, _ = claiming(instance, store, run_tags=tags.requested_tags(export, 60) if by == "sensor" else None)
    with pytest.raises(Skipped, match=r"the queue has been paused since .*: upgrade"):
        claim.take(export)
    run = instance.get_run_by_id(claim.run.about.run_id)
    assert run is not None
    assert "has been paused" in run.tags[run_tags.WITHDRAWN]
    assert store.get(export.id) == export


def test_a_reexecuted_run_says_that_the_queue_is_paused_and_lets_others_begin(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export
) -> None:
    store.claimed(store.claim(export.id, "p")[0]).fail(ERROR)
    store.pause.begin(None, "cli:ann")
    copied = {run_tags.EXPORT_ID: export.id, "dagster/parent_run_id": "p", "dagster/root_run_id": "p"}
    run = instance.create_run_for_job(
        dg.GraphDefinition("any").to_job(), tags=copied, parent_run_id="p", root_run_id="p"
    )
    first, _ = claiming(instance, store)
    again = dataclasses.replace(first, run=RecordedRun(instance, run))
    with pytest.raises(QueuePaused, match="the queue has been paused"):
        again.take(store.get(export.id))
    store.pause.end()
    held, _ = again.take(store.get(export.id))
    assert (held.attempt, store.get(export.id).run_id) == (2, run.run_id)


def test_an_export_that_is_cancelled_during_the_wait(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export
) -> None:
    """Who asked for the run decides: for a sensor there is nothing to do, a person is told."""
    store.claim(store.request(new_export())[0].id, "cli-1")

    def cancel(_: float) -> None:
        store.close_run(export.id, "api", ExportStatus.CANCELED, None, attempt=1)

    by_sensor, _ = claiming(instance, store, sleep=cancel, run_tags=tags.requested_tags(export, 60))
    with pytest.raises(Skipped, match="is CANCELED"):
        by_sensor.take(export)
    by_hand, _ = claiming(instance, store)
    with pytest.raises(ExportNotClaimable, match="is CANCELED"):
        by_hand.take(export)


def test_a_run_for_an_earlier_attempt_does_not_take_a_later_one(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export
) -> None:
    store.close_run(export.id, "api", ExportStatus.CANCELED, None, attempt=1)
    store.retry(export.id)
    claim, _ = claiming(instance, store, run_tags=tags.requested_tags(export, 60))
    with pytest.raises(Skipped, match="attempt 2"):
        claim.take(export)


def test_a_reexecuted_run_is_one_that_a_person_started(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export
) -> None:
    store.claim(export.id, "another-run")
    copied = tags.requested_tags(export, 60) | {"dagster/parent_run_id": "p", "dagster/root_run_id": "p"}
    run = instance.create_run_for_job(
        dg.GraphDefinition("any").to_job(), tags=copied, parent_run_id="p", root_run_id="p"
    )
    claim, _ = claiming(instance, store)
    again = dataclasses.replace(claim, run=RecordedRun(instance, run))
    with pytest.raises(ExportNotClaimable):
        again.take(export)


def test_the_run_knows_its_export_before_it_claims_it(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export
) -> None:
    """Otherwise nobody could record what becomes of a run that dies in that moment."""
    store.claim(store.request(new_export())[0].id, "cli-1")
    claim, _ = claiming(instance, store, seconds=1)
    with pytest.raises(QueueBusy):
        claim.take(export)
    run = instance.get_run_by_id(claim.run.about.run_id)
    assert run is not None
    assert run.tags[run_tags.EXPORT_ID] == export.id
    assert run_tags.ATTEMPT not in run.tags


@dataclass
class Told:
    """A progress report and what it told the log."""

    progress: ProgressLog
    lines: list[str]


def report(expected: int | None, clock: Callable[[], float]) -> Told:
    lines: list[str] = []
    return Told(ProgressLog(lines.append, expected, clock), lines)


def clock(step: float) -> Callable[[], float]:
    moments = itertools.count()
    return lambda: next(moments) * step


def test_progress_is_told_about_once_a_second() -> None:
    told = report(None, clock(0.1))
    for step in range(100):
        told.progress(step, step, step)
    assert 8 <= len(told.lines) <= 10


def test_progress_is_told_every_twentieth_of_the_way_but_not_all_the_time() -> None:
    told = report(100, clock(0.01))
    for step in range(101):
        told.progress(step, step * 2, step * 10)
    assert 3 <= len(told.lines) <= 5
    assert told.lines[-1].startswith("100%, 200 rows")


def test_rates_count_from_the_claim_on() -> None:
    lines: list[str] = []
    progress = ProgressLog(lines.append, 1_000, clock=clock(10), since=-10)
    progress(100, 100, 0)
    progress(200, 200, 0)
    assert lines == [" 20%, 200 rows, 10 rows/s, 0.0 MB, 1:20 left"]
