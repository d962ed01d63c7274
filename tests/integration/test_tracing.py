"""Traces: one per correlation id, over the request and the run; nothing of it is loaded when nobody wants them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.api_client import wait_for
from tests.cli_helpers import Cli, load
from tests.otlp_collector import REQUEST_AND_RUN, Collector, collecting
from vfexport_core.embedded.demo.children import answers
from vfexport_core.embedded.process import free_port
from vfexport_core.services.initialise import initialise
from vfexport_core.telemetry.spans import trace_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    Documents = Database[dict[str, Any]]

CORRELATION = "trace-me-7"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LOADED = """
import json, sys
import vfexport_core.cli.export, vfexport_core.services.run_attempt
from vfexport_core.telemetry import tracing
def loaded(name):
    with tracing.span("nothing") as span:
        span.set(a=1)
    tracing.flush()
    return sorted(module for module in sys.modules if module.startswith(name))
run = loaded("opentelemetry")
import vfexport_core.api.server  # fastapi looks for OpenTelemetry's interface by itself
print(json.dumps([run, loaded("opentelemetry.sdk"), loaded("opentelemetry.exporter")]))
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def cli(settings_environment: dict[str, str], collector: Collector, tmp_path: Path) -> Cli:
    tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "VFEXPORT_POLLING_INTERVAL_MILLIS": "50"}
    return Cli(settings_environment | tracing, tmp_path)


def request_export(cli: Cli, campaign: str, token_of: Any, **headers: str) -> dict[str, Any]:
    port = free_port()
    with cli.process("api", "--port", str(port)) as api:
        wait_for(lambda: answers(port, "/heartbeat"), seconds=60)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            headers["Authorization"] = f"Bearer {token_of(http)}"
            headers["X-Correlation-Id"] = CORRELATION
            answer = http.post(f"/campaigns/{campaign}/exports", json={"exportType": "entries"}, headers=headers)
        api.child.terminate()
        assert api.end() == 0
    assert answer.status_code == 202
    lines = [json.loads(line) for line in api.stderr.splitlines()]
    (requested,) = [line for line in lines if line["message"] == "export requested"]
    assert (requested["correlationId"], requested["exportId"]) == (CORRELATION, answer.json()["id"])
    return answer.json()


def make_token(http: httpx.Client) -> str:
    return http.post("/dev/token", json={"userId": "u", "permissions": {"*": ["REPORT"]}}).json()["token"]


def test_request_and_run_are_one_trace(cli: Cli, collector: Collector, database: Documents) -> None:
    initialise(database)
    campaign = load(database, 20)
    export = request_export(cli, campaign, make_token, traceparent=CALLER)
    with cli.process("export", campaign, "entries", "--json") as run:
        assert run.end() == 0
    assert json.loads(run.stdout)["exportId"] == export["id"]
    found = collector.trace_of(CORRELATION)
    assert found.keys() == REQUEST_AND_RUN
    request = found["POST /campaigns/{campaignId}/exports"]
    assert request.attributes["http.response.status_code"] == 202
    assert request.links == (CALLER.split("-")[1],)
    assert {found[name].parent for name in ("scan", "publish")} == {found["deliver"].id}
    assert found["deliver"].attributes["vfexport.rows"] == 20
    assert {span.attributes["vfexport.correlation_id"] for span in found.values()} == {CORRELATION}
    assert {found[name].attributes["vfexport.export_id"] for name in ("claim", "count", "deliver", "finish")} == {
        export["id"]
    }
    assert {(span.service, span.has_failed) for span in found.values()} == {("vfexport", False)}
    others = {span.trace for span in collector.spans} - {span.trace for span in found.values()}
    assert others, "other requests are traces of their own"


def test_a_failed_step_names_its_code_and_nothing_else(cli: Cli, collector: Collector, database: Documents) -> None:
    initialise(database)
    campaign = load(database, 5)
    database.markets.delete_many({})
    with cli.process("export", campaign, "entries") as run:
        assert run.end() == 1
    failed = {span.name: span.attributes for span in collector.spans if span.has_failed}
    assert {attributes["error.type"] for attributes in failed.values()} == {"NoMarketsFound"}
    assert "count" in failed, "nothing is counted, let alone read, without markets"
    assert "deliver" not in failed


def test_nothing_is_loaded_without_an_endpoint() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, check=True)
    assert json.loads(done.stdout) == [[], [], []]


def test_a_collector_that_is_away_fails_nothing(cli: Cli, database: Documents) -> None:
    initialise(database)
    campaign = load(database, 5)
    cli.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    with cli.process("export", campaign, "entries", "--json") as run:
        assert run.end() == 0
    assert json.loads(run.stdout)["rows"] == 5


def test_trace_ids_are_made_from_correlation_ids() -> None:
    assert trace_id_of("a") == trace_id_of("a") != trace_id_of("b")
    assert 0 < trace_id_of("a") < 2**128
