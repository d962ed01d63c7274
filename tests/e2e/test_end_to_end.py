"""A request over HTTP becomes a file in S3, through every process that takes part in production."""

from __future__ import annotations

import hashlib
import os
import signal
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from tests.dagster.conftest import Buckets, reference_bytes
from tests.e2e import leaks
from tests.e2e.conftest import DEV_KEY, ENTRIES
from tests.e2e.stack import MATERIALIZATIONS, START_SECONDS, WORKSPACE, Stack, poll
from tests.otlp_collector import REQUEST_AND_RUN
from tests.s3_faults import ACCESS_DENIED

if TYPE_CHECKING:
    import threading

    from pymongo.database import Database

    from tests.otlp_collector import Collector
    from tests.s3_proxy import S3Proxy

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("whole service")]


def test_requests_become_the_files_that_the_reference_makes(
    stack: Stack, campaign: str, data: Database[dict[str, Any]]
) -> None:
    queued = {name: stack.request(campaign, exportType=name) for name in ("entries", "scoring")}
    for name, export in queued.items():
        finished = stack.wait_for_status(export, "FINISHED")
        expected = reference_bytes(data, campaign, name)
        download = httpx.get(finished["path"], timeout=60)
        assert download.content == expected
        assert finished["bytes"] == len(expected)
        assert finished["sha256"] == hashlib.sha256(expected).hexdigest()
        assert finished["count"] == ENTRIES
        assert f" - {name} - " in download.headers["Content-Disposition"]
        assert download.headers["Content-Type"] == "text/csv; charset=utf-8"


@pytest.fixture(scope="module")
def run_of_an_export(stack: Stack, campaign: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Have entries exported; gives the run and its tags."""
    export = stack.request(campaign, exportType="entries")
    stack.wait_for_status(export, "FINISHED")
    (run,) = poll(lambda: [run for run in stack.runs_of(export) if run["status"] == "SUCCESS"])
    return run, {tag["key"]: tag["value"] for tag in run["tags"]}


def test_the_web_server_shows_runs_files_and_sensors(
    stack: Stack, campaign: str, run_of_an_export: tuple[dict[str, Any], dict[str, str]]
) -> None:
    run, tags = run_of_an_export
    assert run["jobName"] == "entries_export"
    assert tags["campaign_id"] == campaign
    # The timeout, a quarter of an hour for clocks that differ, and what the run waited for its turn.
    assert 2_800 <= int(tags["dagster/max_runtime"]) < 2_800 + START_SECONDS
    assert any(f"{tags['export_id']} is FINISHED: {ENTRIES:,} rows" in line for line in stack.logs(run["runId"]))
    asset = stack.graphql(MATERIALIZATIONS, key={"path": ["exports", "entries"]})["assetOrError"]
    figures = {entry["label"]: entry.get("intValue") for entry in asset["assetMaterializations"][0]["metadataEntries"]}
    assert figures["rows"] == ENTRIES
    (location,) = stack.graphql(WORKSPACE)["workspaceOrError"]["locationEntries"]
    (repository,) = location["locationOrLoadError"]["repositories"]
    assert {sensor["name"]: sensor["sensorState"]["status"] for sensor in repository["sensors"]} == {
        "export_watchdog": "RUNNING",
        "notifications": "RUNNING",
        "pending_exports": "RUNNING",
        "run_outcome": "RUNNING",
        "ccpa_deletions": "RUNNING",
    }


def test_the_request_and_its_run_are_one_trace(
    run_of_an_export: tuple[dict[str, Any], dict[str, str]], collector: Collector
) -> None:
    _, tags = run_of_an_export
    poll(lambda: collector.trace_of(tags["correlation_id"]).keys() >= REQUEST_AND_RUN)


def test_a_run_that_is_terminated_in_the_ui_cancels_its_export_and_leaves_nothing(
    stack: Stack, campaign: str, s3_proxy: S3Proxy, gate: threading.Event, stored: Buckets
) -> None:
    before = stored.everything()
    export = stack.request(campaign, exportType="entries")
    s3_proxy.wait_for("PutObject", seconds=120)
    (run,) = stack.runs_of(export)
    assert stack.terminate(run["runId"]) == "TerminateRunSuccess"
    gate.set()
    assert "error" not in stack.wait_for_status(export, "CANCELED")
    assert stack.runs_of(export)[0]["status"] == "CANCELED"
    assert stored.everything() == before


def test_a_run_whose_process_is_killed_fails_its_export_and_the_queue_goes_on(
    stack: Stack, campaign: str, s3_proxy: S3Proxy, gate: threading.Event
) -> None:
    lost = stack.request(campaign, exportType="entries")
    s3_proxy.wait_for("PutObject", seconds=120)
    next_one = stack.request(campaign, exportType="scoring")
    (run,) = stack.runs_of(lost)
    os.kill(stack.process_of(run["runId"]), signal.SIGKILL)
    failed = stack.wait_for_status(lost, "FAILED")
    assert failed["error"]["code"] == "WorkerLost"
    assert not gate.is_set()
    s3_proxy.heal()
    stack.wait_for_status(next_one, "FINISHED")


def test_a_run_whose_export_is_cancelled_over_the_api_ends_by_itself(
    stack: Stack, campaign: str, s3_proxy: S3Proxy, gate: threading.Event, stored: Buckets
) -> None:
    before = stored.everything()
    export = stack.request(campaign, exportType="entries")
    s3_proxy.wait_for("PutObject", seconds=120)
    answer = stack.act(export, "cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "TRIGGERED")
    gate.set()
    assert "error" not in stack.wait_for_status(export, "CANCELED")
    (run,) = stack.runs_of(export)
    poll(lambda: stack.run_status(run["runId"]) in {"FAILURE", "CANCELED"})
    assert stored.everything() == before
    assert stack.act(export, "cancel").json()["error"]["code"] == "ExportNotCancelable"


def test_a_run_that_is_stopped_past_its_lease_is_fenced_off_and_does_not_hold_the_queue(
    stack: Stack, campaign: str, s3_proxy: S3Proxy, gate: threading.Event, stored: Buckets
) -> None:
    stopped = stack.request(campaign, exportType="entries")
    s3_proxy.wait_for("PutObject", seconds=120)
    (run,) = stack.runs_of(stopped)
    pid = stack.process_of(run["runId"])
    os.kill(pid, signal.SIGSTOP)
    next_one = stack.request(campaign, exportType="scoring")
    failed = stack.wait_for_status(stopped, "FAILED")
    assert failed["error"]["code"] == "WorkerLost"
    s3_proxy.heal()  # what was sent before is lost, what comes now arrives
    stack.wait_for_status(next_one, "FINISHED")
    before = stored.everything()
    os.kill(pid, signal.SIGCONT)
    poll(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert stack.read(stopped) == failed
    assert stored.everything() == before


@pytest.mark.parametrize("strategy", ["ALL_STEPS", "FROM_FAILURE"])
def test_a_failed_run_is_reexecuted_in_the_ui(
    strategy: str, stack: Stack, campaign: str, s3_proxy: S3Proxy, stored: Buckets
) -> None:
    s3_proxy.reset()
    s3_proxy.fail("PutObject", ACCESS_DENIED)
    export = stack.request(campaign, exportType="entries")
    stack.wait_for_status(export, "FAILED")
    s3_proxy.heal()
    (run,) = stack.runs_of(export)
    poll(lambda: stack.run_status(run["runId"]) == "FAILURE")
    again = stack.reexecute(run["runId"], strategy)
    finished = poll(lambda: (found := stack.read(export))["status"] == "FINISHED" and found)
    assert finished["attempt"] == 2
    poll(lambda: stack.run_status(again) == "SUCCESS")
    assert finished["key"] in stored.everything()


def test_nothing_sensitive_is_written_down_anywhere(
    stack: Stack, data: Database[dict[str, Any]], s3_proxy: S3Proxy, stored: Buckets, collector: Collector
) -> None:
    """After an export that finishes, one that fails, a deletion, and all that the tests before have done.

    Logs, Dagster's storage (events, runs, ticks, raw output), error answers, traces, documents of exports, figures,
    deletions.
    """
    campaign, fan_id = leaks.insert_marked_campaign(data)
    body = {"userId": leaks.USER_ID, "permissions": {"*": ["REPORT"]}}
    token = stack.api.post("/dev/token", json=body).json()["token"]
    headers = {"Authorization": f"Bearer {token}", "X-Correlation-Id": "find-me-everywhere"}
    path = f"/campaigns/{campaign}/exports"
    finished = stack.api.post(path, json={"exportType": "entries"}, headers=headers).json()
    finished = stack.wait_for_status(finished, "FINISHED")
    s3_proxy.reset()
    s3_proxy.fail("PutObject", ACCESS_DENIED)
    failed = stack.api.post(path, json={"exportType": "fanlist"}, headers=headers).json()
    stack.wait_for_status(failed, "FAILED")
    s3_proxy.reset()

    assert stored.settings.exports is not None
    delivered = stored.read(stored.settings.exports.name, finished["key"])
    told = {name: mark for name, mark in leaks.FAN.items() if name in {"email", "last", "preference"}}
    assert len(leaks.leaks([leaks.Written("the file", delivered)], told)) == len(told)

    answers = list(leaks.mistakes(stack, path, headers, leaks.FAN["email"]))
    # Read before the deletion takes them away; it leaves a record of its own.
    documents = list(leaks.documents_of(data, "exports", "exportFigures"))
    body = {"userId": leaks.USER_ID, "permissions": {}, "supreme": True}
    supreme = stack.api.post("/dev/token", json=body).json()["token"]
    deleted = stack.api.delete(f"/ccpa/users/{fan_id}", headers=headers | {"Authorization": f"Bearer {supreme}"})
    assert deleted.json() == {"deletedCount": {"exports": 2, "files": 1}}
    answers += [leaks.Written("deletion", deleted.content)]
    answers += [leaks.Written("/metrics", stack.api.get("/metrics").content)]
    documents += leaks.documents_of(data, "ccpaDeletions")
    poll(lambda: any("/ccpa/users" in span.name for span in collector.spans))
    answers += [leaks.Written("traces", body) for body in list(collector.bodies)]
    files = list(leaks.files_of(stack.folder))

    secrets = {"password": leaks.MONGO_PASSWORD, "S3 secret": leaks.S3_SECRET, "hash key": leaks.HASH_KEY}
    secrets |= {"token": token, "signature": token.rpartition(".")[2], "private key": DEV_KEY.splitlines()[1]}
    secrets |= {"supreme token": supreme, "supreme signature": supreme.rpartition(".")[2], "fan's id": fan_id}
    found = leaks.leaks([*files, *answers, *documents], leaks.FAN | secrets)
    assert not found, "\n".join(found)
    # The export belongs to somebody; nobody else has to know who.
    found = leaks.leaks([*files, *answers], {"user id": leaks.USER_ID})
    assert not found, "\n".join(found)

    correlated = leaks.leaks([*files, *answers], {"id": "find-me-everywhere"})
    for place in ("API.log", "runs.db", "compute_logs", "Dagster.log", "traces"):
        assert any(place in name for name in correlated), f"{place} was not looked at: {correlated}"
