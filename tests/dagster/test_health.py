"""What the doctor is told of a Dagster instance."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._daemon.types import DaemonHeartbeat
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, ProgrammingError

from vfexport_core.doctor.orchestrator_findings import findings
from vfexport_core.services.workspace_file import find_workspace
from vfexport_dagster import health
from vfexport_dagster.definitions import defs
from vfexport_dagster.instance_state import InstanceState, sensor_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.exc import DBAPIError

HEALTHY = {"concurrency": {"runs": {"max_concurrent_runs": 1}}, "run_monitoring": {"enabled": True}}


def outcomes(
    home: Path,
    config: dict[str, Any],
    *,
    beat_seconds_ago: float = 1,
    stop: str | None = None,
    tick_seconds_ago: float = 1,
) -> Any:
    (home / "dagster.yaml").write_text(yaml.safe_dump(config | {"telemetry": {"enabled": False}}))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for name in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - beat_seconds_ago, name, "d", []))
        for name in sensor_names():
            ticked = time.time() - tick_seconds_ago
            instance.add_instigator_state(sensor_state(name, is_on=name != stop, last_tick=ticked))
        found = list(findings(InstanceState(instance)))
    assert all(finding.hint for finding in found if finding.outcome != "ok")
    return {finding.name.removeprefix("dagster "): finding.outcome.value for finding in found}


def sensor_state(sensor: str, *, is_on: bool, last_tick: float | None = None) -> InstigatorState:
    with dg.DagsterInstance.ephemeral():
        origin = dg._core.remote_origin.RemoteInstigatorOrigin(  # type: ignore[attr-defined]
            dg._core.remote_origin.RemoteRepositoryOrigin(  # type: ignore[attr-defined]
                dg._core.remote_origin.RegisteredCodeLocationOrigin("here"),  # type: ignore[attr-defined]
                defs.get_repository_def().name,
            ),
            sensor,
        )
    data = SensorInstigatorData(last_tick_timestamp=last_tick)
    status = InstigatorStatus.RUNNING if is_on else InstigatorStatus.STOPPED
    return InstigatorState(origin, dg._core.definitions.run_request.InstigatorType.SENSOR, status, data)


def test_a_healthy_instance(tmp_path: Path) -> None:
    assert outcomes(tmp_path, HEALTHY) == {
        "daemon": "ok",
        "queue": "ok",
        "monitoring": "ok",
        "sensors": "ok",
        "ticks": "ok",
        "storage": "ok",
        "code location": "not checked",
        "clock": "ok",
    }


@pytest.mark.parametrize("skew", [-900, 900])
def test_the_clock_of_dagsters_storage_is_compared(skew: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr("vfexport_core.doctor.orchestrator_findings.time.time", lambda: now() - skew)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(HEALTHY))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (clock,) = [finding for finding in findings(InstanceState(instance)) if finding.name == "dagster clock"]
    assert clock.outcome.value == "warning"
    assert abs(int(clock.detail.split()[0]) - skew) < 30, clock.detail  # the rest is how long the look took
    assert "NTP" in clock.hint


def test_a_daemon_that_is_silent(tmp_path: Path) -> None:
    assert outcomes(tmp_path, HEALTHY, beat_seconds_ago=3_600)["daemon"] == "failed"


def test_more_than_one_run_at_a_time_and_no_monitoring(tmp_path: Path) -> None:
    found = outcomes(tmp_path, {"concurrency": {"runs": {"max_concurrent_runs": 2}}})
    assert (found["queue"], found["monitoring"]) == ("failed", "failed")


@pytest.mark.parametrize("sensor", sensor_names())
def test_a_sensor_that_is_switched_off(tmp_path: Path, sensor: str) -> None:
    assert outcomes(tmp_path, HEALTHY, stop=sensor)["sensors"] == "warning"


def test_sensors_that_do_not_tick(tmp_path: Path) -> None:
    found = outcomes(tmp_path, HEALTHY, tick_seconds_ago=3_600)
    assert (found["sensors"], found["ticks"]) == ("ok", "failed")


def test_a_code_location_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = {"grpc_server": {"host": "127.0.0.1", "port": 1, "location_name": "vfexport"}}
    (tmp_path / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [location]}))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        found = {finding.name: finding for finding in findings(InstanceState(instance, find_workspace()))}
    assert found["dagster code location"].outcome.value == "failed"
    assert "vfexport cannot be reached" in found["dagster code location"].detail


@pytest.mark.parametrize(
    ("kind", "said", "hint"),
    [
        (OperationalError, "it does not answer (OperationalError)", "DAGSTER_PG_"),
        (InterfaceError, "it does not answer (InterfaceError)", "DAGSTER_PG_"),
        (ProgrammingError, "it refuses what Dagster asks (ProgrammingError)", "`dagster instance migrate`"),
        (InternalError, "it refuses what Dagster asks (InternalError)", "`dagster instance migrate`"),
    ],
)
def test_a_storage_that_does_not_answer_or_refuses_is_named_by_the_kind_of_its_error(
    kind: type[DBAPIError], said: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away() -> dg.DagsterInstance:
        fault = kind("SELECT 1", {}, Exception("at db.example as dagster"))
        raise RuntimeError("too many retries for DB connection") from fault

    monkeypatch.setattr(dg.DagsterInstance, "get", staticmethod(away))
    health.main()
    told = capsys.readouterr().out
    (found,) = json.loads(told)
    assert (found["name"], found["outcome"]) == ("dagster storage", "failed")
    assert found["detail"].startswith(said)
    assert hint in found["hint"]
    assert "db.example" not in told


def drop_tables(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        for table in ("runs", "daemon_heartbeats"):
            database.execute(f"DROP TABLE {table}")


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("strike", "said", "hint"),
    [
        (drop_tables, "it refuses what Dagster asks (SQLite: no such table: ", "`dagster instance migrate`"),
        (replace_by_folder, "its file cannot be used (SQLite: unable to open database file)", "is there room"),
    ],
)
def test_what_is_the_matter_with_sqlites_file_is_said(
    strike: Callable[[Path], None], said: str, hint: str, *, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(HEALTHY))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs() == []
    strike(tmp_path / "history" / "runs.db")
    health.main()
    (found,) = json.loads(capsys.readouterr().out)
    assert found["detail"].startswith(said)
    assert hint in found["hint"]


def test_what_else_is_in_the_way_of_the_instance_is_not_taken_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> dg.DagsterInstance:
        raise dg.DagsterInvariantViolationError("no such field")

    monkeypatch.setattr(dg.DagsterInstance, "get", staticmethod(wrong))
    with pytest.raises(dg.DagsterInvariantViolationError):
        health.main()
