"""The jobs, in process on the embedded servers: what they deliver, how they are launched, how they end."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from bson import ObjectId

from tests.dagster.conftest import ENTRIES, Buckets, Runner, reference_bytes
from tests.integration.queue_helpers import new_export
from tests.s3_faults import ACCESS_DENIED, Answer, Run
from vfexport_core.catalog import find_spec
from vfexport_core.embedded.synthetic import DATE_KEYS
from vfexport_core.pipeline import run as pipeline
from vfexport_core.queue.models import Export, ExportStatus
from vfexport_core.services import run_tags
from vfexport_core.telemetry.progress import ProgressLog
from vfexport_dagster import tags
from vfexport_dagster.assets import export_checks
from vfexport_dagster.session import RESOURCES

if TYPE_CHECKING:
    from pymongo.database import Database

    from tests.s3_proxy import S3Proxy
    from vfexport_core.queue.repository import ExportRepository

FAN = "fan.of.everything@example.com"


@pytest.mark.parametrize(("export_type", "bucket"), [("entries", "exports"), ("scoring", "scoring")])
def test_a_requested_export_is_delivered_as_the_reference_has_it(
    export_type: str,
    bucket: str,
    runner: Runner,
    store: ExportRepository,
    buckets: Buckets,
    *,
    campaign_id: str,
    database: Database[dict[str, Any]],
) -> None:
    queued, _ = store.request(new_export(campaign_id=campaign_id, export_type=export_type))
    result = runner.run_requested(queued)
    assert result.success
    export = store.get(queued.id)
    data = reference_bytes(database, campaign_id, export_type)
    (key,) = export.keys
    assert export.status is ExportStatus.FINISHED
    assert export.run_id == result.run_id
    assert buckets.read(getattr(buckets.settings, bucket).name, key) == data
    assert (export.bytes, export.sha256[key]) == (len(data), hashlib.sha256(data).hexdigest())
    assert export.count == ENTRIES
    assert buckets.everything() == [key]


def test_a_finished_export_is_a_materialization_with_figures_and_no_fan_data(
    runner: Runner, store: ExportRepository, export: Export, database: Database[dict[str, Any]]
) -> None:
    result = runner.run_requested(export)
    (event,) = [event for event in result.all_events if event.event_type_value == "ASSET_MATERIALIZATION"]
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    finished = store.get(export.id)
    (key,) = finished.keys
    assert event.asset_key.path == ["exports", "entries"]
    assert (metadata["rows"], metadata["bytes"], metadata["sha256"]) == (ENTRIES, finished.bytes, finished.sha256[key])
    assert metadata["s3_uri"] == f"s3://{finished.bucket}/{key}"
    assert metadata["seconds"] > 0
    assert metadata["rows_per_second"] == pytest.approx(ENTRIES / metadata["seconds"], rel=0.1)
    assert any(line.endswith(f", {metadata['rows_per_second']:,} rows/s") for line in runner.log(result))
    columns = {column.name: column for column in metadata["dagster/column_schema"].columns}
    assert next(iter(columns)) == "id"
    assert (columns["Select Show"].type, columns["Select Show"].description) == ("text", "show(M)")
    assert not [name for name in columns if "one per preference" in name], "they are those of the campaign"
    assert [dict(record.data) for record in event.materialization.metadata["files"].records] == [
        {"key": key, "rows": ENTRIES, "sha256": finished.sha256[key], "link": ""}
    ]
    assert event.partition == export.campaign_id
    assert runner.instance.get_dynamic_partitions("campaigns") == [export.campaign_id]
    told = "\n".join([*runner.log(result), *(str(value) for value in metadata.values())])
    emails = [email for email in database["users"].distinct("integrations.ticketmaster.email") if "@" in str(email)]
    assert len(emails) > ENTRIES // 2
    assert not [email for email in emails if str(email) in told]


def checks(result: Any) -> dict[str, dg.AssetCheckEvaluation]:
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def test_a_delivered_file_is_checked_in_its_bucket_and_again_whenever_asked(
    runner: Runner, store: ExportRepository, export: Export, buckets: Buckets
) -> None:
    result = runner.run_requested(export)
    assert {name: one.passed for name, one in checks(result).items()} == {
        "file_in_store": True,
        "has_rows": True,
        "few_warnings": True,
    }
    finished = store.get(export.id)
    buckets.client.put_object(Bucket=finished.bucket, Key=finished.keys[0], Body=b"something else")
    declared = export_checks(find_spec("entries"))
    job = dg.define_asset_job("check", selection=dg.AssetSelection.checks(declared))
    checking = dg.Definitions(asset_checks=[declared], jobs=[job], resources=RESOURCES, executor=dg.in_process_executor)
    again = checking.resolve_job_def("check").execute_in_process(instance=runner.instance)
    assert {name: one.passed for name, one in checks(again).items()} == {
        "file_in_store": False,
        "has_rows": True,
        "few_warnings": True,
    }


def test_the_log_tells_the_way(runner: Runner, export: Export) -> None:
    result = runner.run_requested(export)
    lines = runner.log(result)
    assert "corr-7" not in "".join(lines), "it is a tag of the run, and in each line on stderr"
    assert any(f"about {ENTRIES} documents" in line for line in lines)
    assert any(f"100%, {ENTRIES} rows" in line for line in lines)
    assert any("is FINISHED" in line for line in lines)


def test_a_run_started_by_hand_queues_its_export_and_is_tagged_with_it(
    runner: Runner, store: ExportRepository, campaign_id: str
) -> None:
    result = runner.run("entries_export", {"campaign_id": campaign_id, "include_all_markets": True})
    assert result.success
    (export,) = store.list(campaign_id=campaign_id)
    assert (export.status, export.source, export.include_all_markets) == (ExportStatus.FINISHED, "dagster", True)
    assert export.correlation_id == result.run_id
    run = runner.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert {
        run_tags.EXPORT_ID: export.id,
        run_tags.CAMPAIGN_ID: campaign_id,
        run_tags.CAMPAIGN: export.campaign_name,
        run_tags.ATTEMPT: "1",
        run_tags.CORRELATION_ID: result.run_id,
    }.items() <= run.tags.items()
    assert int(run.tags[tags.MAX_RUNTIME]) >= 1_800


def test_a_run_started_by_hand_takes_an_equal_export_that_waits(
    runner: Runner, store: ExportRepository, export: Export
) -> None:
    assert runner.run("entries_export", {"campaign_id": export.campaign_id}).success
    (found,) = store.list(campaign_id=export.campaign_id)
    assert (found.id, found.status) == (export.id, ExportStatus.FINISHED)
    assert found.correlation_id == "corr-7"


def test_a_run_started_by_hand_beside_an_equal_one_that_runs_fails_and_says_so(
    runner: Runner, store: ExportRepository, export: Export
) -> None:
    store.claim(export.id, "another-run")
    result = runner.run("entries_export", {"campaign_id": export.campaign_id})
    assert not result.success
    assert "is TRIGGERED by run another-run" in runner.failure(result)
    assert store.get(export.id).run_id == "another-run"


def test_a_run_started_by_hand_for_an_export_that_has_ended_fails_and_changes_nothing(
    runner: Runner, store: ExportRepository, export: Export
) -> None:
    assert runner.run("entries_export", {"export_id": export.id}).success
    before = store.get(export.id)
    result = runner.run("entries_export", {"export_id": export.id})
    assert not result.success
    failure = runner.failure(result)
    assert "ExportNotClaimable" in failure
    assert "FINISHED" in failure
    assert store.get(export.id) == before


def test_an_export_of_another_type_is_refused(runner: Runner, store: ExportRepository, export: Export) -> None:
    result = runner.run("scoring_export", {"export_id": export.id})
    assert "is of type entries, this job is for scoring" in runner.failure(result)
    assert store.get(export.id).status is ExportStatus.PENDING


@pytest.mark.parametrize("campaign", ["nonsense", "0" * 24])
def test_a_campaign_that_is_not_there_fails_the_run_and_queues_nothing(
    campaign: str, runner: Runner, store: ExportRepository
) -> None:
    result = runner.run("entries_export", {"campaign_id": campaign})
    assert "CampaignNotFound" in runner.failure(result)
    assert store.list() == []


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"campaign_id": ""},
        {"export_id": "a" * 24, "campaign_id": "b" * 24},
    ],
)
def test_a_launch_that_says_nothing_or_too_much_fails_in_its_first_step(
    config: dict[str, Any], runner: Runner, store: ExportRepository
) -> None:
    """Refused at launch, the launchpad would show an internal error and two stack traces."""
    failure = runner.failure(runner.run("entries_export", config))
    assert "InvalidRequest: " in failure
    assert "campaign_id" in failure
    assert store.list() == []


def test_a_wave_is_named_by_its_digits_without_quotes_and_without_one_the_waves_are_told(
    runner: Runner, store: ExportRepository, campaign_id: str
) -> None:
    failure = runner.failure(runner.run("code_waves_export", {"campaign_id": campaign_id, "date_key": ""}))
    assert "MissingDateKey: " in failure
    assert all(key in failure for key in DATE_KEYS)
    assert "UnknownDateKey: " in runner.failure(
        runner.run("code_waves_export", {"campaign_id": campaign_id, "date_key": 1})
    )
    assert store.list() == []
    assert runner.run("code_waves_export", {"campaign_id": campaign_id, "date_key": int(DATE_KEYS[0])}).success
    assert [export.date_key for export in store.list()] == [DATE_KEYS[0]]


@pytest.mark.parametrize("change", ["cancelled", "taken", "gone", "retried"])
def test_a_requested_run_that_comes_too_late_ends_well_and_says_why(
    change: str, runner: Runner, store: ExportRepository, export: Export, database: Database[dict[str, Any]]
) -> None:
    if change == "taken":
        store.claim(export.id, "another-run")
    elif change == "gone":
        database["exports"].delete_one({"_id": ObjectId(export.id)})
    else:
        store.close_run(export.id, "another-run", ExportStatus.CANCELED, None, attempt=1)
    if change == "retried":
        store.retry(export.id)
    before = list(database["exports"].find())
    result = runner.run_requested(export)
    assert result.success
    assert {event.step_key for event in result.all_events if event.is_step_skipped} == {"count", "deliver", "finish"}
    assert any("nothing to do" in line for line in runner.log(result))
    assert list(database["exports"].find()) == before


def test_an_error_is_recorded_and_the_run_says_what_to_do(
    runner: Runner, store: ExportRepository, export: Export, database: Database[dict[str, Any]]
) -> None:
    database["markets"].delete_many({})
    result = runner.run_requested(export)
    assert not result.success
    failed = store.get(export.id)
    assert failed.status is ExportStatus.FAILED
    assert failed.error is not None
    assert (failed.error["code"], failed.error["payload"]) == ("NoMarketsFound", export.campaign_id)
    assert failed.attempts[-1].error == failed.error
    assert "Add a market to the campaign" in runner.failure(result)


def test_a_bucket_that_refuses_fails_the_export_and_keeps_nothing(
    runner: Runner, store: ExportRepository, export: Export, buckets: Buckets, s3_proxy: S3Proxy
) -> None:
    s3_proxy.fail("PutObject", ACCESS_DENIED)
    assert not runner.run_requested(export).success
    failed = store.get(export.id)
    assert failed.status is ExportStatus.FAILED
    assert failed.error is not None
    assert failed.error["code"].startswith("Delivery")
    assert failed.error["payload"] == buckets.settings.exports.name
    assert buckets.everything() == []


def test_a_passing_fault_fails_the_run_and_the_next_attempt_follows_by_itself(
    runner: Runner, store: ExportRepository, export: Export, s3_proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFEXPORT_AUTO_RETRIES", "1")
    monkeypatch.setattr("vfexport_core.storage.s3.bucket.RetryPolicy.wait_seconds", lambda *_: 0.0)
    s3_proxy.fail("PutObject", Answer(503, "SlowDown"))
    result = runner.run_requested(export)
    assert not result.success
    assert f"attempt 2 of export {export.id} follows by itself" in runner.log(result)
    again = store.get(export.id)
    assert (again.status, again.attempt, again.attempts[0].status) == (ExportStatus.PENDING, 2, ExportStatus.FAILED)
    assert again.retry_at is not None


def test_an_unexpected_error_tells_its_class_and_place_but_no_data(
    runner: Runner, store: ExportRepository, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_args: Any, **_options: Any) -> None:
        raise ValueError(FAN) from KeyError(FAN)

    monkeypatch.setattr(pipeline, "run_export", stumble)
    result = runner.run_requested(export)
    failed = store.get(export.id)
    assert failed.error is not None
    assert (failed.status, failed.error["code"]) == (ExportStatus.FAILED, "InternalError")
    assert "ValueError at stumble" in failed.error["message"]
    everything = [entry.to_json() if hasattr(entry, "to_json") else str(entry) for entry in _events(runner, result)]
    assert FAN not in f"{failed}{''.join(everything)}"


def _events(runner: Runner, result: Any) -> list[Any]:
    return list(runner.instance.all_logs(result.run_id))


def test_a_run_that_lost_its_export_publishes_nothing_and_leaves_the_document_alone(
    runner: Runner, store: ExportRepository, export: Export, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = ProgressLog.__call__

    def cancel_and_tell(report: ProgressLog, *figures: int) -> None:
        store.close_run(export.id, store.get(export.id).run_id or "", ExportStatus.CANCELED, None)
        tell(report, *figures)

    monkeypatch.setattr(ProgressLog, "__call__", cancel_and_tell)
    result = runner.run_requested(export)
    assert not result.success
    assert "LeaseLost" in runner.failure(result)
    lost = store.get(export.id)
    assert (lost.status, lost.error) == (ExportStatus.CANCELED, None)
    assert buckets.everything() == []


def test_a_file_published_in_the_moment_in_which_the_export_was_lost_is_taken_away(
    runner: Runner, store: ExportRepository, export: Export, buckets: Buckets, s3_proxy: S3Proxy
) -> None:
    def cancel() -> None:
        store.close_run(export.id, store.get(export.id).run_id or "", ExportStatus.CANCELED, None)

    s3_proxy.fail("PutObject", Run(cancel))
    result = runner.run_requested(export)
    assert "LeaseLost" in runner.failure(result)
    assert s3_proxy.seen("PutObject")
    assert store.get(export.id).status is ExportStatus.CANCELED
    assert buckets.everything() == []


def test_a_missing_bucket_setting_fails_the_export_by_its_name(
    runner: Runner,
    export: Export,
    store: ExportRepository,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in environment:
        if name.startswith("VFEXPORT_BUCKETS__EXPORTS__"):
            monkeypatch.delenv(name)
    result = runner.run_requested(export)
    assert not result.success
    error = store.get(export.id).error
    assert error is not None
    assert error["code"] == "ConfigurationError"
    assert error["payload"] == "VFEXPORT_BUCKETS__EXPORTS__NAME"
