"""What Dagster does, as metrics: ``python -m vfexport_dagster.exporter --workspace FILE`` serves them for Prometheus.

A process of its own beside the daemon, so that it still answers when that has died. It asks Dagster's storage and the
code location at each scrape, and needs neither MongoDB nor the buckets.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import dagster as dg

from vfexport_core.telemetry.logs import log_to_stderr
from vfexport_core.telemetry.orchestrator import OrchestratorMetrics, serve_until_told
from vfexport_dagster.instance_state import InstanceState

PORT = 9400


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
    log_to_stderr()
    with dg.DagsterInstance.get() as instance:
        serve_until_told(OrchestratorMetrics(InstanceState(instance, workspace)), host, port)


if __name__ == "__main__":
    sys.exit(main())
