"""What runs and sensors write to stderr: one JSON object per line, with the ids that lead from one to the other."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from vfexport_core.queue.models import ExportStatus
from vfexport_core.telemetry import context, logs
from vfexport_dagster.definitions import defs
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.sensors import build_pending_sensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dagster.conftest import Runner
    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository


def written(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


@pytest.fixture
def fresh_sensor_log() -> Iterator[None]:
    """Have the sensors' logger made anew, as in a new process."""
    logger = logging.getLogger("vfexport_dagster.sensors")
    logger.handlers.clear()
    logs.stderr_logger.cache_clear()
    yield
    logger.handlers.clear()
    logger.propagate = True
    logs.stderr_logger.cache_clear()


def test_every_line_of_a_run_has_its_ids(runner: Runner, export: Export, capfd: pytest.CaptureFixture[str]) -> None:
    result = runner.run_requested(export)
    assert result.success
    found = written(capfd)
    assert {(line["correlationId"], line["exportId"], line["runId"]) for line in found} == {
        ("corr-7", export.id, result.run_id)
    }
    assert {"claim", "deliver", "finish"} <= {line.get("step") for line in found}
    assert any("claimed export" in line["message"] for line in found)
    assert context.fields() == {}, "the next run in this process is another one"


def test_a_failing_run_tells_the_same(runner: Runner, export: Export, store: ExportRepository, capfd: Any) -> None:
    store.close_run(export.id, "x", ExportStatus.CANCELED, None, 1)
    store.retry(export.id)
    assert runner.run_requested(export).success  # it came too late
    assert {line["correlationId"] for line in written(capfd)} == {"corr-7"}


def test_a_person_may_have_text(
    runner: Runner, export: Export, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFEXPORT_LOG_FORMAT", "text")
    assert runner.run_requested(export).success
    text = capfd.readouterr().err
    assert not text.startswith("{")
    assert "correlationId=corr-7" in text


@pytest.mark.usefixtures("fresh_sensor_log")
def test_the_sensor_tells_for_which_export_it_asks_for_a_run(
    export: Export, instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    sensor = build_pending_sensor({"entries": defs.resolve_job_def("entries_export")}, tick_seconds=0)
    with dg.build_sensor_context(instance=instance, resources={"mongo": MongoResource()}) as tick:
        assert sensor.evaluate_tick(tick).run_requests
    (line,) = written(capfd)
    assert {name: line[name] for name in ("message", "correlationId", "exportId", "runKey", "level")} == {
        "message": "run requested",
        "correlationId": "corr-7",
        "exportId": export.id,
        "runKey": f"{export.id}:1",
        "level": "INFO",
    }
