"""Open deletions of users' data: the job completes them, the sensor asks for it until they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from tests.ccpa import USER_ID, Service
from vfexport_core.services.delete_user import DEAD_SECONDS
from vfexport_core.services.reconcile_runs import Sightings
from vfexport_core.storage.buckets import BucketClients
from vfexport_dagster import tags
from vfexport_dagster.assets import asset_key
from vfexport_dagster.definitions import defs
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.runs import DELETION_JOB
from vfexport_dagster.sensors import build_deletion_sensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from tests.dagster.conftest import Runner
    from tests.s3_proxy import S3Proxy
    from vfexport_core.settings import Settings


@pytest.fixture
def service(settings: Settings, database: Database[dict[str, Any]], environment: dict[str, str]) -> Iterator[Service]:
    with BucketClients(settings) as buckets:
        service = Service(settings, database, buckets)
        service.initialise()
        yield service


def open_record(service: Service, user_id: str = USER_ID) -> str:
    """Leave a record as a request leaves it that got no further; it is its turn."""
    record_id = service.open_record(user_id)
    rest(service)
    return record_id


def rest(service: Service) -> None:
    """Let time go by for all open records."""
    earlier = {"$subtract": ["$$NOW", 3_600_000]}
    records = service.database["ccpaDeletions"]
    records.update_many({}, [{"$set": {"date.requested": earlier}}])
    records.update_many({"date.tried": {"$exists": True}}, [{"$set": {"date.tried": earlier}}])


def tick(instance: dg.DagsterInstance, begun: Sightings | None = None) -> Any:
    with dg.build_sensor_context(instance=instance, resources={"mongo": MongoResource()}) as context:
        return build_deletion_sensor(begun).evaluate_tick(context)


def test_a_deletion_whose_campaigns_were_not_found_is_completed_by_the_hash(runner: Runner, service: Service) -> None:
    campaign = service.add_campaign(50)
    service.exported(campaign)
    foreign = service.exported(service.add_campaign(51, entries=(2, 3), scored=(2, 3)))
    record_id = open_record(service)
    (request,) = tick(runner.instance).run_requests
    assert request.run_key is None
    result = runner.run(DELETION_JOB, {})
    assert result.success
    assert any(record_id in line for line in runner.log(result))
    record = service.record()
    assert (record["status"], record["campaigns"]) == ("COMPLETE", [campaign])
    assert [export.id for export in service.store.list()] == [foreign.id]
    assert tick(runner.instance).run_requests == []
    told = "\n".join(str(entry) for entry in runner.instance.all_logs(result.run_id))
    assert USER_ID not in told


def test_what_fails_stays_open_rests_and_is_asked_for_again(
    runner: Runner, service: Service, s3_proxy: S3Proxy
) -> None:
    service.exported(service.add_campaign(50))
    open_record(service)
    s3_proxy.fail("ListObjectVersions")
    failed = runner.run(DELETION_JOB, {})
    record = service.record()
    assert not failed.success, "operators see that something is in the way"
    told = "\n".join(runner.log(failed))
    assert f"deletion {record['_id']} is not complete yet (DeliveryFailed)" in told
    assert "ListObjectVersions" in told
    assert (record["status"], record["tries"], record["errors"][0]["code"]) == ("OPEN", 1, "DeliveryFailed")
    assert tick(runner.instance).run_requests == [], "it rests"
    rest(service)
    assert len(tick(runner.instance).run_requests) == 1
    s3_proxy.heal()
    runner.run(DELETION_JOB, {})
    record = service.record()
    assert (record["status"], record["tries"]) == ("COMPLETE", 2)
    assert service.everything() == []


def test_one_run_is_asked_for_at_a_time_and_a_dead_one_makes_room(runner: Runner, service: Service) -> None:
    record_id = open_record(service)
    run = runner.instance.create_run_for_job(defs.resolve_job_def(DELETION_JOB))
    assert tick(runner.instance).run_requests == []
    for event in (dg.DagsterEventType.RUN_STARTING, dg.DagsterEventType.RUN_START):
        runner.instance.report_dagster_event(dg.DagsterEvent(event.value, DELETION_JOB), run.run_id)
    now = 0.0
    begun = Sightings(clock=lambda: now)
    assert tick(runner.instance, begun).run_requests == [], "it has just begun"
    now = DEAD_SECONDS + 60
    other = open_record(service, "somebody else")
    assert service.deletions.begin(other) is not None
    assert tick(runner.instance, begun).run_requests == [], "somebody is at work"
    service.deletions.leave(service.deletions.get(other), [])
    assert len(tick(runner.instance, begun).run_requests) == 1
    found = runner.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is dg.DagsterRunStatus.FAILURE
    assert record_id in {record.id for record in service.deletions.open_ones()}


def test_a_mongodb_that_does_not_answer_is_told(
    instance: dg.DagsterInstance, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfexport_dagster.sensors.RETRY_SECONDS", 0.2)
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100")
    assert "SourceUnavailable" in tick(instance).skip_message


def test_a_completed_deletion_is_told_on_the_asset_that_lost_a_file(runner: Runner, service: Service) -> None:
    campaign = service.add_campaign(50)
    exported = service.exported(campaign)
    runner.instance.create_run_for_job(defs.resolve_job_def("entries_export"), tags=tags.requested_tags(exported, 60))
    open_record(service)
    assert runner.run(DELETION_JOB, {}).success
    tick(runner.instance)
    key = asset_key("entries")
    ((observed,), _, _) = runner.instance.fetch_observations(key, limit=10)
    assert observed.partition_key == campaign
    assert observed.asset_observation.metadata["deletion"].value == service.record()["_id"].__str__()
    assert USER_ID not in str(observed)
