"""What an orchestrator tells of itself, as metrics; ages in seconds, None for what has not been seen at all."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from prometheus_client import Metric

NEVER = float("inf")
"""The age, as a metric, of what has not been seen at all."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SensorState:
    """One of this service's sensors; what is not known of one that the daemon has not seen yet is None."""

    name: str
    is_on: bool | None
    last_tick: float | None
    """When its last tick began, in seconds since the epoch."""
    failed_ticks: int
    """How many of its latest ticks failed, up to the last one that did not; counted to ten."""

    def age(self, now: float) -> float | None:
        return None if self.last_tick is None else max(0.0, now - self.last_tick)


@dataclass(frozen=True, slots=True)
class StorageState:
    """The orchestrator's storage: its kind and version, whether its schema is this version's, and its clock."""

    kind: str
    version: str
    is_migrated: bool
    clock: datetime


class OrchestratorState(Protocol):
    """What an orchestrator tells of itself when it is asked; all but `location_problem` raise what its storage does."""

    @property
    def version(self) -> str: ...

    @property
    def workspace(self) -> Path | None:
        """The file that names the code locations, where it is known."""
        ...

    def storage(self) -> StorageState: ...

    def run_limit(self) -> int | None:
        """Return how many runs may go on at a time; None when nothing limits them."""
        ...

    def is_monitored(self) -> bool:
        """Return whether runs that take too long or never start are ended."""
        ...

    def heartbeat_ages(self) -> dict[str, float | None]:
        """Return for how many seconds each daemon that is needed has given no sign of life; None if it never has."""
        ...

    def location_problem(self) -> str | None:
        """Return None when each code location of the workspace answers within seconds, else why not."""
        ...

    def sensors(self) -> Sequence[SensorState]:
        """Return the state of every sensor, by name."""
        ...


class OrchestratorMetrics(CollectorRegistry):
    """Asks the orchestrator whenever it is collected."""

    def __init__(self, state: OrchestratorState) -> None:
        super().__init__()
        self._state = state
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            yield build_info(self._state.version)
            problem = self._state.location_problem()
            if problem is not None:
                _log.warning("%s", problem)
            yield code_location_up(float(problem is None))
            yield from self._of_storage()

    def _of_storage(self) -> list[Metric]:
        """Return what the storage knows, all or nothing."""
        try:
            ages, sensors = self._state.heartbeat_ages(), self._state.sensors()
        except Exception as error:  # noqa: BLE001 whatever a database and its driver raise
            _log.warning("Dagster's storage does not answer: %s", type(error).__name__)
            return [storage_up(0)]
        return [storage_up(1), daemon_ages(ages), *sensor_metrics(sensors)]


def build_info(orchestrator_version: str) -> Metric:
    """Return which versions of this service and of the orchestrator run."""
    labels = {"version": metadata.version("vfexport"), "dagster": orchestrator_version}
    info = GaugeMetricFamily("vfexport_dagster_build_info", "Which versions run; always 1.", labels=[*labels])
    info.add_metric([*labels.values()], 1)
    return info


def code_location_up(value: float) -> Metric:
    """Return 1 where the code location answers, else 0."""
    return GaugeMetricFamily("vfexport_dagster_code_location_up", "Whether the code location answers.", value=value)


def storage_up(value: float) -> Metric:
    """Return 1 where the orchestrator's storage answers, else 0."""
    return GaugeMetricFamily("vfexport_dagster_storage_up", "Whether Dagster's storage answers.", value=value)


def daemon_ages(ages: Mapping[str, float | None]) -> Metric:
    """Return the age of the last sign of life of each daemon."""
    family = GaugeMetricFamily(
        "vfexport_dagster_daemon_heartbeat_age_seconds", "Since a daemon's last sign of life.", labels=["daemon"]
    )
    for name, age in ages.items():
        family.add_metric([name], NEVER if age is None else age)
    return family


def sensor_metrics(states: Sequence[SensorState]) -> Iterator[Metric]:
    """Yield of each sensor whether it is on, the age of its last tick, and how many failed in a row."""
    on = GaugeMetricFamily("vfexport_dagster_sensor_on", "Whether a sensor is switched on.", labels=["sensor"])
    ages = GaugeMetricFamily(
        "vfexport_dagster_sensor_tick_age_seconds", "Since the last tick of a sensor began.", labels=["sensor"]
    )
    failed = GaugeMetricFamily(
        "vfexport_dagster_sensor_failed_ticks", "Ticks of a sensor that failed in a row, 10 at most.", labels=["sensor"]
    )
    now = time.time()
    for state in states:
        age = state.age(now)
        on.add_metric([state.name], float(state.is_on is not False))
        ages.add_metric([state.name], NEVER if age is None else age)
        failed.add_metric([state.name], state.failed_ticks)
    yield from (on, ages, failed)
