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
from tests.e2e.stack import MATERIALIZATIONS, WORKSPACE, Stack, poll, running
from tests.s3_faults import ACCESS_DENIED, Reset
from tests.s3_proxy import S3Proxy
from vfexport_core.embedded import embedded_environment
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.queue.store import ExportStore
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from pymongo import MongoClient
    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer, S3Server

pytestmark = pytest.mark.timeout(900)
ENTRIES = 3_000


@pytest.fixture(scope="module")
def data(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    name = f"test_e2e_{os.getpid()}"
    ExportStore(mongo_client[name]).initialise()
    yield mongo_client[name]
    mongo_client.drop_database(name)


@pytest.fixture(scope="module")
def campaign(data: Database[dict[str, Any]]) -> str:
    return seed_campaign(data, entries=ENTRIES)


@pytest.fixture(scope="module")
def s3_proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    """Every process reaches S3 through it, so that a test can hold a run where it wants to."""
    with S3Proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def variables(
    mongo_server: MongoServer, s3_server: S3Server, s3_proxy: S3Proxy, data: Database[dict[str, Any]]
) -> dict[str, str]:
    environment = embedded_environment(mongo_server, s3_server, bucket_suffix=f"-e2e-{os.getpid()}")
    through_proxy = {name: s3_proxy.url for name in environment if name.endswith("__ENDPOINT_URL")}
    return (
        environment
        | through_proxy
        | {"VFEXPORT_MONGO_DATABASE": data.name, "VFEXPORT_POLLING_INTERVAL_MILLIS": "200"}
        | {"VFEXPORT_LEASE_SECONDS": "8"}
    )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str], campaign: str) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("stack"), variables) as stack:
        yield stack


@pytest.fixture(scope="module")
def stored(variables: dict[str, str]) -> Iterator[Buckets]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        buckets = Buckets(load_settings(None))
    yield buckets
    buckets.client.close()


@pytest.fixture
def gate(s3_proxy: S3Proxy) -> Iterator[threading.Event]:
    """Hold every file in the moment before it would appear; those behind the gate are lost when it opens."""
    s3_proxy.reset()
    yield s3_proxy.hold("PutObject", then=Reset())
    s3_proxy.reset()


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
        assert f"{name}.csv" in download.headers["Content-Disposition"]
        assert download.headers["Content-Type"] == "text/csv; charset=utf-8"


def test_the_web_server_shows_runs_files_and_sensors(stack: Stack, campaign: str) -> None:
    export = stack.request(campaign, exportType="entries")
    stack.wait_for_status(export, "FINISHED")
    (run,) = poll(lambda: [run for run in stack.runs_of(export) if run["status"] == "SUCCESS"])
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert run["jobName"] == "entries_export"
    assert tags["vfexport/campaign_id"] == campaign
    assert tags["dagster/max_runtime"] == "1800"
    assert any(line.endswith(f"[{tags['vfexport/correlation_id']}]") for line in stack.logs(run["runId"]))
    asset = stack.graphql(MATERIALIZATIONS, key={"path": ["exports", "entries"]})["assetOrError"]
    figures = {entry["label"]: entry.get("intValue") for entry in asset["assetMaterializations"][0]["metadataEntries"]}
    assert figures["rows"] == ENTRIES
    (location,) = stack.graphql(WORKSPACE)["workspaceOrError"]["locationEntries"]
    (repository,) = location["locationOrLoadError"]["repositories"]
    assert {sensor["name"]: sensor["sensorState"]["status"] for sensor in repository["sensors"]} == {
        "export_watchdog": "RUNNING",
        "pending_exports": "RUNNING",
        "run_outcome": "RUNNING",
        "ccpa_deletions": "RUNNING",
    }


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
