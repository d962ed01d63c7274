"""What Dagster does, as metrics: ``python -m vfexport_dagster.exporter --workspace FILE`` serves them for Prometheus.

A process of its own beside the daemon, so that it still answers when that has died. It asks Dagster's storage and the
code location at each scrape, and needs neither MongoDB nor the buckets.
"""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click
import dagster as dg
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily

from vfexport_core.settings import PREFIX
from vfexport_core.telemetry.logs import logging_config
from vfexport_dagster.instance_state import heartbeat_ages, location_problem, sensor_states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

PORT = 9400
NEVER = float("inf")
"""The age of what has not been seen at all."""

_log = logging.getLogger(__name__)


class InstanceMetrics(CollectorRegistry):
    """Asks the instance, and the code locations of a workspace, whenever it is collected."""

    def __init__(self, instance: dg.DagsterInstance, workspace: Path) -> None:
        super().__init__()
        self._instance = instance
        self._workspace = workspace
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            yield _build()
            problem = location_problem(self._workspace)
            if problem is not None:
                _log.warning("%s", problem)
            yield GaugeMetricFamily(
                "vfexport_dagster_code_location_up", "Whether the code location answers.", value=float(problem is None)
            )
            yield from self._of_storage()

    def _of_storage(self) -> list[Metric]:
        """Return what the storage knows, all or nothing."""
        try:
            found = [*_daemons(self._instance), *_sensors(self._instance)]
        except Exception as error:  # noqa: BLE001 whatever a database and its driver raise
            _log.warning("Dagster's storage does not answer: %s", type(error).__name__)
            return [_storage_up(0)]
        return [_storage_up(1), *found]


def _storage_up(value: int) -> Metric:
    return GaugeMetricFamily("vfexport_dagster_storage_up", "Whether Dagster's storage answers.", value=value)


def _build() -> Metric:
    labels = {"version": metadata.version("vfexport"), "dagster": dg.__version__}
    info = GaugeMetricFamily("vfexport_dagster_build_info", "Which versions run; always 1.", labels=[*labels])
    info.add_metric([*labels.values()], 1)
    return info


def _daemons(instance: dg.DagsterInstance) -> Iterator[Metric]:
    ages = GaugeMetricFamily(
        "vfexport_dagster_daemon_heartbeat_age_seconds", "Since a daemon's last sign of life.", labels=["daemon"]
    )
    for name, age in heartbeat_ages(instance).items():
        ages.add_metric([name], NEVER if age is None else age)
    yield ages


def _sensors(instance: dg.DagsterInstance) -> Iterator[Metric]:
    on = GaugeMetricFamily("vfexport_dagster_sensor_on", "Whether a sensor is switched on.", labels=["sensor"])
    ages = GaugeMetricFamily(
        "vfexport_dagster_sensor_tick_age_seconds", "Since the last tick of a sensor began.", labels=["sensor"]
    )
    failed = GaugeMetricFamily(
        "vfexport_dagster_sensor_failed_ticks", "Ticks of a sensor that failed in a row, 10 at most.", labels=["sensor"]
    )
    now = time.time()
    for state in sensor_states(instance):
        age = state.age(now)
        on.add_metric([state.name], float(state.is_on is not False))
        ages.add_metric([state.name], NEVER if age is None else age)
        failed.add_metric([state.name], state.failed_ticks)
    yield from (on, ages, failed)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(1, 65_535), help="The port.")
@click.option(
    "--workspace",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file that names the code location.",
)
def main(*, host: str, port: int, workspace: Path) -> None:
    """Serve the metrics of the Dagster instance that DAGSTER_HOME names, until SIGTERM."""
    logging.config.dictConfig(logging_config(os.environ.get(f"{PREFIX}LOG_FORMAT", "auto")))
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with dg.DagsterInstance.get() as instance:
        server, thread = start_http_server(port, host, registry=InstanceMetrics(instance, workspace))
        _log.info("metrics at http://%s:%d/metrics", host, port)
        stopping.wait()
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
