"""Runs that a person launched, while they wait: each gets its export and its place, as the reaper sensor looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.execution.api import execute_run

from tests.api_client import insert_campaign
from tests.integration.queue_helpers import DELIVERED, new_export, queued
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services import run_tags
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.pending import Unserved
from vfexport_core.services.reconcile_runs import AHEAD, Reconciler, Sightings
from vfexport_core.settings import load_settings
from vfexport_dagster import tags
from vfexport_dagster.definitions import defs
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.runs import DagsterRuns
from vfexport_dagster.sensors import build_outcome_sensor

if TYPE_CHECKING:
    from pymongo.database import Database

    from tests.dagster.conftest import Runner
    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository


@pytest.fixture
def campaign_id(store: ExportRepository, database: Database[dict[str, Any]]) -> str:
    return insert_campaign(database)


def launch(instance: dg.DagsterInstance, job: str = "scoring_export", **options: Any) -> dg.DagsterRun:
    """Make a run as the launchpad does; it waits in Dagster's queue."""
    return instance.create_run_for_job(defs.resolve_job_def(job), **options)


def scoring_job() -> dg.JobDefinition:
    return defs.resolve_job_def("scoring_export")


def look(instance: dg.DagsterInstance, store: ExportRepository) -> list[str]:
    backend = Backend(load_settings(None), database=store.database, queue=store)
    return [*Reconciler(DagsterRuns(instance), backend, Sightings()).look()]


def seen(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


def told(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    return "\n".join(entry.message for entry in instance.all_logs(run.run_id))


def test_it_waits_with_an_export_and_tags_of_its_own_in_the_order_of_requests(
    store: ExportRepository, instance: dg.DagsterInstance, campaign_id: str
) -> None:
    earlier = queued(store)
    run = launch(instance, run_config={"campaign_id": campaign_id})
    (done,) = look(instance, store)
    later = queued(store)
    (export,) = store.list(campaign_id=campaign_id)
    assert run.run_id in done
    assert export.id in done
    assert (export.status, export.source, export.correlation_id) == (ExportStatus.PENDING, "dagster", run.run_id)
    assert store.pending(3) == [earlier, export, later]
    priorities = [int(tags.requested_tags(one, 0)[tags.PRIORITY]) for one in (earlier, export, later)]
    assert priorities == sorted(priorities, reverse=True)
    assert seen(instance, run).tags.items() >= {**tags.requested_tags(export, 2_800)}.items()
    assert f"Export {export.id}" in told(instance, run)
    assert "position 2, starts in about 0:" in told(instance, run)
    assert look(instance, store) == [], "once"
    assert len(store.list()) == 3


def test_no_other_run_is_requested_for_its_export_and_it_takes_it_in_its_turn(
    runner: Runner, store: ExportRepository, campaign_id: str
) -> None:
    run = launch(runner.instance, run_config={"campaign_id": campaign_id})
    look(runner.instance, store)
    assert Unserved(DagsterRuns(runner.instance), Sightings()).among(store.pending(AHEAD)) == []
    execute_run(dg.reconstructable(scoring_job), seen(runner.instance, run), runner.instance, raise_on_error=False)
    assert [(one.run_id, one.attempt) for one in store.list()] == [(run.run_id, 1)]


def test_tags_that_the_launchpad_copied_from_another_run_mean_nothing(
    store: ExportRepository, instance: dg.DagsterInstance, campaign_id: str
) -> None:
    old = queued(store)
    store.close_run(old.id, "x", ExportStatus.CANCELED, None, attempt=1)
    copied = {name: value for name, value in tags.requested_tags(old, 60).items() if not name.startswith("dagster/")}
    run = launch(instance, run_config={"campaign_id": campaign_id}, tags=copied)
    look(instance, store)
    (export,) = store.list(campaign_id=campaign_id)
    assert seen(instance, run).tags[run_tags.EXPORT_ID] == export.id
    assert look(instance, store) == []


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({}, "InvalidRequest"),
        ({"campaign_id": "0" * 24}, "CampaignNotFound"),
        ({"export_id": "0" * 24}, "ExportNotFound"),
    ],
)
def test_one_that_can_have_no_export_keeps_its_turn_and_is_told_why(
    config: dict[str, Any], code: str, store: ExportRepository, instance: dg.DagsterInstance
) -> None:
    run = launch(instance, run_config=config)
    look(instance, store)
    assert f"This run has no export yet: {code}" in told(instance, run)
    waiting = seen(instance, run)
    after = int(tags.requested_tags(queued(store), 0)[tags.PRIORITY])
    assert int(waiting.tags[tags.PRIORITY]) > after > int(tags.LAST)
    assert tags.read_tags(waiting).requested_attempt is None
    assert look(instance, store) == []


@pytest.fixture
def export(store: ExportRepository) -> Export:
    return store.request(new_export(export_type="scoring"))[0]


def test_one_for_a_queued_export_gets_its_place_and_one_for_another_type_does_not(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export
) -> None:
    run = launch(instance, run_config={"export_id": export.id})
    other = launch(instance, "entries_export", run_config={"export_id": export.id})
    look(instance, store)
    assert seen(instance, run).tags[run_tags.EXPORT_ID] == export.id
    assert run_tags.EXPORT_ID not in seen(instance, other).tags
    assert "is of type scoring" in told(instance, other)


def test_one_whose_export_is_cancelled_meanwhile_is_cancelled_with_it(
    store: ExportRepository, instance: dg.DagsterInstance, export: Export
) -> None:
    run = launch(instance, run_config={"export_id": export.id})
    look(instance, store)
    store.request_cancel(export.id)
    look(instance, store)
    assert seen(instance, run).status is dg.DagsterRunStatus.CANCELED
    assert "is CANCELED" in told(instance, run)


def test_one_whose_export_another_run_has_made_makes_no_second_one(
    runner: Runner, store: ExportRepository, campaign_id: str
) -> None:
    export = store.request(new_export(campaign_id=campaign_id, export_type="scoring"))[0]
    run = launch(runner.instance, run_config={"campaign_id": campaign_id})
    look(runner.instance, store)
    store.claimed(store.claim(export.id, "another run")[0]).finish(DELIVERED)
    ended = execute_run(
        dg.reconstructable(scoring_job), seen(runner.instance, run), runner.instance, raise_on_error=False
    )
    assert ended.success
    assert [(one.id, one.run_id) for one in store.list()] == [(export.id, "another run")]


@pytest.mark.parametrize("is_own", [True, False])
def test_cancelling_one_cancels_the_export_that_it_has_queued_and_nobody_elses(
    is_own: bool, store: ExportRepository, instance: dg.DagsterInstance, campaign_id: str
) -> None:
    if not is_own:
        store.request(new_export(campaign_id=campaign_id, export_type="scoring"))
    run = launch(instance, run_config={"campaign_id": campaign_id})
    look(instance, store)
    instance.report_run_canceled(seen(instance, run))
    with dg.build_sensor_context(instance=instance, resources={"mongo": MongoResource()}) as context:
        build_outcome_sensor().evaluate_tick(context)
    (export,) = store.list()
    assert export.status is (ExportStatus.CANCELED if is_own else ExportStatus.PENDING)
