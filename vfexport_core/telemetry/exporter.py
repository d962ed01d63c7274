"""What an orchestrator tells of itself, served for Prometheus by a process of its own, until SIGTERM."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
from prometheus_client import start_http_server

from vfexport_core.telemetry.logs import log_to_stderr
from vfexport_core.telemetry.orchestrator import OrchestratorMetrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from prometheus_client import CollectorRegistry

    from vfexport_core.telemetry.orchestrator import OrchestratorState

PORT = 9400

_log = logging.getLogger(__name__)


def exporter_command(
    open_state: Callable[[Path], AbstractContextManager[OrchestratorState]], description: str
) -> click.Command:
    """Return the command that serves the metrics of the orchestrator that `open_state` opens by its workspace file."""

    @click.command(help=description)
    @click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
    @click.option("--port", default=PORT, show_default=True, type=click.IntRange(1, 65_535), help="The port.")
    @click.option(
        "--workspace",
        required=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The file that names the code location.",
    )
    def serve(*, host: str, port: int, workspace: Path) -> None:
        log_to_stderr()
        with open_state(workspace) as state:
            serve_until_told(OrchestratorMetrics(state), host, port)

    return serve


def serve_until_told(registry: CollectorRegistry, host: str, port: int) -> None:
    """Serve metrics over HTTP until SIGINT or SIGTERM."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    server, thread = start_http_server(port, host, registry=registry)
    _log.info("metrics at http://%s:%d/metrics", host, port)
    stopping.wait()
    server.shutdown()
    server.server_close()
    thread.join()
