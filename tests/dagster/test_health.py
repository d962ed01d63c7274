"""What the doctor is told of a Dagster instance."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._daemon.types import DaemonHeartbeat

from vfexport_dagster.definitions import defs
from vfexport_dagster.health import findings

if TYPE_CHECKING:
    from pathlib import Path

HEALTHY = {"concurrency": {"runs": {"max_concurrent_runs": 1}}, "run_monitoring": {"enabled": True}}


def outcomes(home: Path, config: dict[str, Any], *, beat_seconds_ago: float = 1, stop: str | None = None) -> Any:
    (home / "dagster.yaml").write_text(yaml.safe_dump(config | {"telemetry": {"enabled": False}}))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for name in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - beat_seconds_ago, name, "d", []))
        if stop is not None:
            instance.add_instigator_state(_stopped(stop))
        found = list(findings(instance))
    assert all(finding.hint for finding in found if finding.outcome != "ok")
    return {finding.name.removeprefix("dagster "): finding.outcome.value for finding in found}


def _stopped(sensor: str) -> InstigatorState:
    with dg.DagsterInstance.ephemeral():
        origin = dg._core.remote_origin.RemoteInstigatorOrigin(  # type: ignore[attr-defined]
            dg._core.remote_origin.RemoteRepositoryOrigin(  # type: ignore[attr-defined]
                dg._core.remote_origin.RegisteredCodeLocationOrigin("here"),  # type: ignore[attr-defined]
                defs.get_repository_def().name,
            ),
            sensor,
        )
    data = SensorInstigatorData()
    return InstigatorState(
        origin, dg._core.definitions.run_request.InstigatorType.SENSOR, InstigatorStatus.STOPPED, data
    )


def test_a_healthy_instance(tmp_path: Path) -> None:
    assert outcomes(tmp_path, HEALTHY) == {
        "daemon": "ok",
        "queue": "ok",
        "monitoring": "ok",
        "sensors": "ok",
        "clock": "ok",
    }


@pytest.mark.parametrize("skew", [-900, 900])
def test_the_clock_of_dagsters_storage_is_compared(skew: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr("vfexport_dagster.health.time.time", lambda: now() - skew)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(HEALTHY))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (clock,) = [finding for finding in findings(instance) if finding.name == "dagster clock"]
    assert clock.outcome.value == "warning"
    assert abs(int(clock.detail.split()[0]) - skew) < 30, clock.detail  # the rest is how long the look took
    assert "NTP" in clock.hint


def test_a_daemon_that_is_silent(tmp_path: Path) -> None:
    assert outcomes(tmp_path, HEALTHY, beat_seconds_ago=3_600)["daemon"] == "failed"


def test_more_than_one_run_at_a_time_and_no_monitoring(tmp_path: Path) -> None:
    found = outcomes(tmp_path, {"concurrency": {"runs": {"max_concurrent_runs": 2}}})
    assert (found["queue"], found["monitoring"]) == ("failed", "failed")


def test_a_sensor_that_is_switched_off(tmp_path: Path) -> None:
    assert outcomes(tmp_path, HEALTHY, stop="pending_exports")["sensors"] == "warning"
