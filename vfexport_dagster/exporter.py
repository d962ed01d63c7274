"""What Dagster does, as metrics: ``python -m vfexport_dagster.exporter --workspace FILE`` serves them for Prometheus.

A process of its own beside the daemon, so that it still answers when that has died. It asks Dagster's storage and the
code location at each scrape, and needs neither MongoDB nor the buckets.
"""

from __future__ import annotations

import logging
import logging.config
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
import dagster as dg
from prometheus_client import CollectorRegistry

from vfexport_core.settings import PREFIX
from vfexport_core.telemetry import orchestrator
from vfexport_core.telemetry.logs import logging_config
from vfexport_dagster.instance_state import heartbeat_ages, location_problem, sensor_states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

PORT = 9400

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
            yield orchestrator.build_info(dg.__version__)
            problem = location_problem(self._workspace)
            if problem is not None:
                _log.warning("%s", problem)
            yield orchestrator.code_location_up(float(problem is None))
            yield from self._of_storage()

    def _of_storage(self) -> list[Metric]:
        """Return what the storage knows, all or nothing."""
        try:
            ages, states = heartbeat_ages(self._instance), sensor_states(self._instance)
        except Exception as error:  # noqa: BLE001 whatever a database and its driver raise
            _log.warning("Dagster's storage does not answer: %s", type(error).__name__)
            return [orchestrator.storage_up(0)]
        return [orchestrator.storage_up(1), orchestrator.daemon_ages(ages), *orchestrator.sensor_metrics(states)]


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
    with dg.DagsterInstance.get() as instance:
        orchestrator.serve_until_told(InstanceMetrics(instance, workspace), host, port)


if __name__ == "__main__":
    sys.exit(main())
