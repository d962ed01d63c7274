"""What a Dagster instance tells of its daemons, its sensors and its code location: for the doctor and for metrics."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus

from vfexport_core.telemetry.orchestrator import SensorState
from vfexport_dagster.definitions import defs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import dagster as dg
    from dagster._core.scheduler.instigation import InstigatorState

_TICKS = 10
_LOCATION_SECONDS = 5.0


def sensor_names() -> list[str]:
    """Return the names of all sensors that the code location has."""
    return sorted(sensor.name for sensor in defs.get_repository_def().sensor_defs)


def sensor_states(instance: dg.DagsterInstance) -> list[SensorState]:
    """Return the state of every sensor, by name."""
    known = _latest_states(instance)
    return [_state_of(instance, name, known.get(name)) for name in sensor_names()]


def heartbeat_ages(instance: dg.DagsterInstance) -> dict[str, float | None]:
    """Return for how many seconds each daemon that is needed has given no sign of life; None if it never has."""
    beats = instance.get_daemon_heartbeats()
    now = time.time()
    return {
        name: max(0.0, now - beats[name].timestamp) if name in beats else None
        for name in sorted(instance.get_required_daemon_types())
    }


def location_problem(workspace: Path, seconds: float = _LOCATION_SECONDS) -> str | None:
    """Ask the code locations that a workspace file names; None when each answers within so many seconds, else why not.

    Only servers that others start (``grpc_server``) are asked: what Dagster starts by itself cannot be asked from here.
    """
    from dagster._core.workspace.load import location_origins_from_yaml_paths  # noqa: PLC0415 seldom needed

    for origin in location_origins_from_yaml_paths([str(workspace)]):
        answered: list[bool] = []
        create_client = getattr(origin, "create_client", None)
        if create_client is None:
            continue
        thread = threading.Thread(target=_ping, args=(create_client(), answered), daemon=True)
        thread.start()
        thread.join(seconds)
        if not answered:
            return f"location {origin.location_name} does not answer within {seconds:g} s"
        if not answered[0]:
            return f"location {origin.location_name} cannot be reached"
    return None


def _ping(client: Any, answered: list[bool]) -> None:
    try:
        client.ping("")
    except Exception:  # noqa: BLE001 whatever it is, there is no answer
        answered.append(False)
    else:
        answered.append(True)


def _latest_states(instance: dg.DagsterInstance) -> dict[str, InstigatorState]:
    """Return the latest state of each sensor: there may be others, of code locations that had another name."""
    found: dict[str, InstigatorState] = {}
    for state in sorted(instance.all_instigator_state(instigator_type=InstigatorType.SENSOR), key=_last_tick):
        found[state.instigator_name] = state
    return found


def _last_tick(state: InstigatorState) -> float:
    data: Any = state.instigator_data
    return max(
        getattr(data, "last_tick_timestamp", None) or 0.0, getattr(data, "last_tick_start_timestamp", None) or 0.0
    )


def _state_of(instance: dg.DagsterInstance, name: str, state: InstigatorState | None) -> SensorState:
    if state is None:
        return SensorState(name, is_on=None, last_tick=None, failed_ticks=0)
    return SensorState(
        name, is_on=state.is_running, last_tick=_last_tick(state) or None, failed_ticks=_failed(instance, state)
    )


def _failed(instance: dg.DagsterInstance, state: InstigatorState) -> int:
    return sum(1 for _ in _failures(instance, state))


def _failures(instance: dg.DagsterInstance, state: InstigatorState) -> Iterator[None]:
    for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_TICKS):
        if tick.status is TickStatus.STARTED:
            continue
        if tick.status is not TickStatus.FAILURE:
            return
        yield
