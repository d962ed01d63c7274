"""The service as it runs: API, Dagster's daemon, code server and web server, each a process, on the embedded servers.

It runs in a folder of its own: Dagster and the settings read the `.env` of the working directory, and a developer's may
point anywhere.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from tests.api_client import WaitedInVain, wait_for
from vfexport_core.embedded.process import HOST, ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
START_SECONDS = 180
STOP_SECONDS = 60

RUNS = """query ($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs {
    results { runId status jobName tags { key value } } } } }"""
MATERIALIZATIONS = """query ($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
    assetMaterializations { runId metadataEntries { label ... on IntMetadataEntry { intValue } } } } } }"""
TERMINATE = """mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"""
REEXECUTE = """mutation ($run: String!, $strategy: ReexecutionStrategy!) {
    launchRunReexecution(reexecutionParams: {parentRunId: $run, strategy: $strategy}) { __typename
    ... on LaunchRunSuccess { run { runId } } } }"""
LOGS = """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection {
    events { __typename ... on MessageEvent { message } } } } }"""
WORKSPACE = """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError {
    __typename ... on RepositoryLocation { repositories { sensors { name sensorState { status } } } } } } } } }"""


def poll(condition: Callable[[], Any], seconds: float = START_SECONDS, what: str = "") -> Any:
    """Ask another process until there is a true answer, and give it."""
    try:
        return wait_for(condition, seconds)
    except WaitedInVain:
        raise WaitedInVain(f"not within {seconds} s: {what or condition}") from None


@dataclass(frozen=True)
class WebServer:
    """Dagster's web server, asked as its UI asks it."""

    dagster: httpx.Client

    def graphql(self, query: str, **variables: Any) -> Any:
        answer = self.dagster.post("/graphql", json={"query": query, "variables": variables})
        body = answer.raise_for_status().json()
        assert "errors" not in body, body
        return body["data"]

    def runs_with(self, export_id: str) -> list[dict[str, Any]]:
        """Return the runs of an export, by its tag, the latest first."""
        tag = {"key": "export_id", "value": export_id}
        return self.graphql(RUNS, filter={"tags": [tag]})["runsOrError"]["results"]

    def process_of(self, run_id: str) -> int:
        """Return the id of the process that executes a run, as its log tells."""
        lines = poll(lambda: [line for line in self.logs(run_id) if "in process (pid: " in line])
        (pid,) = {int(re.search(r"pid: (\d+)", line)[1]) for line in lines}  # type: ignore[index]
        return pid

    def terminate(self, run_id: str) -> str:
        """Press Terminate; gives the type of the answer."""
        return self.graphql(TERMINATE, id=run_id)["terminateRun"]["__typename"]

    def reexecute(self, run_id: str, strategy: str) -> str:
        """Press Re-execute; gives the new run's id."""
        answer = self.graphql(REEXECUTE, run=run_id, strategy=strategy)["launchRunReexecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def run_status(self, run_id: str) -> str:
        (run,) = self.graphql(RUNS, filter={"runIds": [run_id]})["runsOrError"]["results"]
        return run["status"]

    def logs(self, run_id: str) -> list[str]:
        events = self.graphql(LOGS, id=run_id)["logsForRun"]["events"]
        return [event["message"] for event in events if "message" in event]


@dataclass(frozen=True)
class Stack(WebServer):
    """The running service."""

    folder: Path
    api: httpx.Client

    def token(self) -> dict[str, str]:
        body = {"userId": "admin-1", "permissions": {"*": ["REPORT"]}}
        return {"Authorization": f"Bearer {self.api.post('/dev/token', json=body).raise_for_status().json()['token']}"}

    def request(self, campaign_id: str, **body: Any) -> dict[str, Any]:
        answer = self.api.post(f"/campaigns/{campaign_id}/exports", json=body, headers=self.token())
        assert answer.status_code == 202, answer.text
        return answer.json()

    def read(self, export: Mapping[str, Any]) -> dict[str, Any]:
        path = f"/campaigns/{export['campaignId']}/exports/{export['id']}"
        return self.api.get(path, headers=self.token()).raise_for_status().json()

    def wait_for_status(self, export: Mapping[str, Any], *statuses: str) -> dict[str, Any]:
        """Poll the API until the export has one of these; it must not end in another."""

        def look() -> dict[str, Any] | None:
            found = self.read(export)
            assert found["status"] in {"PENDING", "TRIGGERED", *statuses}, found
            return found if found["status"] in statuses else None

        return poll(look, what=f"{export['id']} to be {statuses}")

    def runs_of(self, export: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self.runs_with(export["id"])

    def act(self, export: Mapping[str, Any], action: str) -> httpx.Response:
        """Cancel or retry an export over the API."""
        path = f"/campaigns/{export['campaignId']}/exports/{export['id']}/{action}"
        return self.api.post(path, headers=self.token())


@contextmanager
def running(folder: Path, environment: Mapping[str, str]) -> Iterator[Stack]:
    """Run the service for the block; afterwards nothing of it is left, and it ended by itself."""
    home = folder / "dagster"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    shutil.copy(ROOT / "workspace.yaml", folder)
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **environment, "DAGSTER_HOME": str(home), "PYTHONPATH": python_path}
    api_port, dagster_port = free_port(), free_port()
    api_command = ["vfexport_core.cli", "api", "--port", str(api_port)]
    dagster_command = ["dagster", "dev", "-h", HOST, "-p", str(dagster_port)]
    with (
        _start("API", api_command, folder, environment) as api,
        _start("Dagster", dagster_command, folder, environment) as dagster,
        httpx.Client(base_url=f"http://{HOST}:{api_port}", timeout=60) as api_client,
        httpx.Client(base_url=f"http://{HOST}:{dagster_port}", timeout=60) as dagster_client,
    ):
        api.wait_until(lambda: _answers(api_client, "/ready"), START_SECONDS)
        dagster.wait_until(lambda: _answers(dagster_client, "/server_info"), START_SECONDS)
        yield Stack(dagster_client, folder, api_client)
    poll(lambda: not _left(home), STOP_SECONDS, "every process to be gone")
    assert "Dagster services shut down" in dagster.log.read_text(), "it was killed instead of stopped"


def _start(name: str, command: list[str], folder: Path, environment: Mapping[str, str]) -> ServerProcess:
    arguments = [sys.executable, "-m", *command]
    log = folder / f"{name}.log"
    return ServerProcess(name, arguments, log, stop_seconds=STOP_SECONDS, environment=environment, folder=folder)


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx.TransportError:
        return False


def _left(home: Path) -> list[int]:
    """Return the processes that were started with our DAGSTER_HOME: the API, Dagster's, and every run."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DAGSTER_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
