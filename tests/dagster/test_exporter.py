"""What Prometheus is told of a Dagster instance, whatever of it is away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from tests.dagster.test_health import sensor_state
from tests.unit.docs_helpers import OPERATIONS, table
from vfexport_core.telemetry.orchestrator import OrchestratorMetrics
from vfexport_dagster.instance_state import InstanceState, sensor_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUCCEEDED = {"status": TickStatus.SUCCESS, "run_ids": ["r"]}
FAILED = {"status": TickStatus.FAILURE, "error": SerializableErrorInfo("it failed", [], None)}
DOWN = {"load_from": [{"grpc_server": {"host": "127.0.0.1", "port": 1, "location_name": "vfexport"}}]}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")
    (tmp_path / "workspace.yaml").write_text(yaml.safe_dump(DOWN))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def metrics(instance: dg.DagsterInstance, tmp_path: Path) -> OrchestratorMetrics:
    return OrchestratorMetrics(InstanceState(instance, tmp_path / "workspace.yaml"))


def test_every_metric_is_documented_and_no_other(metrics: OrchestratorMetrics) -> None:
    documented = {cells[0].strip("`") for cells in table(OPERATIONS, "Dagster metric")}
    assert {family.name for family in metrics.collect()} == documented


def test_before_the_first_sign_of_life_ages_are_infinite(metrics: OrchestratorMetrics) -> None:
    ages = [
        sample.value
        for family in metrics.collect()
        if family.name.endswith("_age_seconds")
        for sample in family.samples
    ]
    assert len(ages) > len(sensor_names())
    assert set(ages) == {float("inf")}


def test_daemons_and_sensors_are_told_by_name(instance: dg.DagsterInstance, metrics: OrchestratorMetrics) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 100, "SENSOR", "d", []))
    instance.add_instigator_state(sensor_state("ccpa_deletions", is_on=False))
    ticking = sensor_state("run_outcome", is_on=True, last_tick=time.time() - 50)
    instance.add_instigator_state(ticking)
    for number, outcome in enumerate([SUCCEEDED, FAILED, FAILED]):
        tick = TickData(
            ticking.instigator_origin_id,
            ticking.instigator_name,
            InstigatorType.SENSOR,
            timestamp=time.time() - 60 + number,
            selector_id=ticking.selector_id,
            **outcome,
        )
        instance.create_tick(tick)
    beat = value(metrics, "vfexport_dagster_daemon_heartbeat_age_seconds", daemon="SENSOR")
    assert 100 <= beat < float("inf")
    assert value(metrics, "vfexport_dagster_sensor_on", sensor="ccpa_deletions") == 0
    assert value(metrics, "vfexport_dagster_sensor_on", sensor="run_outcome") == 1
    assert 50 <= value(metrics, "vfexport_dagster_sensor_tick_age_seconds", sensor="run_outcome") < float("inf")
    assert value(metrics, "vfexport_dagster_sensor_failed_ticks", sensor="run_outcome") == 2
    assert value(metrics, "vfexport_dagster_code_location_up") == 0


def test_without_the_storage_it_answers_all_the_same(
    instance: dg.DagsterInstance, metrics: OrchestratorMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError("connection refused")

    assert value(metrics, "vfexport_dagster_storage_up") == 1
    monkeypatch.setattr(instance, "get_daemon_heartbeats", refuse)
    names = {family.name for family in metrics.collect()}
    assert value(metrics, "vfexport_dagster_storage_up") == 0
    assert not [name for name in names if "sensor" in name or "daemon" in name]


def value(metrics: OrchestratorMetrics, name: str, **labels: str) -> float:
    found = metrics.get_sample_value(name, labels)
    assert found is not None, (name, labels)
    return found
