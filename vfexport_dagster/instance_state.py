"""What a Dagster instance tells of itself, its sensors and its code location: for the doctor, and as metrics."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.scheduler.instigation import TickStatus
from sqlalchemy import func, select

from vfexport_core.telemetry.orchestrator import SensorState, StorageState
from vfexport_dagster.definitions import defs

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from dagster._core.scheduler.instigation import InstigatorState

_TICKS = 10
_LOCATION_SECONDS = 5


@dataclass(frozen=True, slots=True)
class InstanceState:
    """The `OrchestratorState` of a Dagster instance, asked anew each time."""

    instance: dg.DagsterInstance
    workspace: Path | None = None
    version: str = dg.__version__

    def storage(self) -> StorageState:
        storage: Any = self.instance.run_storage
        with storage.connect() as connection:
            kind, version = connection.engine.name, connection.dialect.server_version_info or ()
            clock = connection.execute(select(func.current_timestamp())).scalar()
        applied, latest = storage.alembic_version() or (None, None)
        clock = clock.replace(tzinfo=clock.tzinfo or UTC)  # SQLite's are in UTC
        return StorageState(kind, ".".join(map(str, version)), is_migrated=applied == latest, clock=clock)

    def run_limit(self) -> int | None:
        queue = self.instance.get_concurrency_config().run_queue_config
        return None if queue is None else queue.max_concurrent_runs

    def is_monitored(self) -> bool:
        return self.instance.run_monitoring_enabled

    def heartbeat_ages(self) -> dict[str, float | None]:
        beats, now = self.instance.get_daemon_heartbeats(), time.time()
        needed = sorted(self.instance.get_required_daemon_types())
        return {name: max(0.0, now - beats[name].timestamp) if name in beats else None for name in needed}

    def location_problem(self) -> str | None:
        """Ask the servers that others start (``grpc_server``): what Dagster starts itself cannot be asked from here."""
        from dagster._core.workspace.load import location_origins_from_yaml_paths  # noqa: PLC0415 seldom needed

        for origin in location_origins_from_yaml_paths([str(self.workspace)]) if self.workspace else ():
            create_client: Any = getattr(origin, "create_client", None)
            try:
                if create_client is not None:
                    create_client().get_server_id(timeout=_LOCATION_SECONDS)
            except DagsterUserCodeUnreachableError:
                return f"location {origin.location_name} cannot be reached within {_LOCATION_SECONDS} s"
        return None

    def sensors(self) -> list[SensorState]:
        # There may be others of the same name, of code locations that had another one: the latest counts.
        states = self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        known = {state.instigator_name: state for state in sorted(states, key=_last_tick)}
        return [self._state_of(name, known.get(name)) for name in sensor_names()]

    def _state_of(self, name: str, state: InstigatorState | None) -> SensorState:
        if state is None:
            return SensorState(name, is_on=None, last_tick=None, failed_ticks=0)
        ticks = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_TICKS)
        ended = (tick.status for tick in ticks if tick.status is not TickStatus.STARTED)
        failed = sum(1 for _ in takewhile(lambda status: status is TickStatus.FAILURE, ended))
        return SensorState(name, is_on=state.is_running, last_tick=_last_tick(state) or None, failed_ticks=failed)


@contextmanager
def opened(workspace: Path | None) -> Generator[InstanceState]:
    """Open the instance that DAGSTER_HOME names; `workspace` is the file that names its code locations."""
    with dg.DagsterInstance.get() as instance:
        yield InstanceState(instance, workspace)


def sensor_names() -> list[str]:
    """Return the names of all sensors that the code location has."""
    return sorted(sensor.name for sensor in defs.get_repository_def().sensor_defs)


def _last_tick(state: InstigatorState) -> float:
    moments = ("last_tick_timestamp", "last_tick_start_timestamp")
    return max(getattr(state.instigator_data, name, None) or 0.0 for name in moments)
