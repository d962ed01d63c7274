"""`vfexport serve`: the API, Dagster's processes and their metrics on one machine, each started again when it ends."""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import socket
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vfexport_core.cli.supervisor import Program, Supervisor
from vfexport_core.errors import ConfigurationError
from vfexport_core.services.workspace_file import HOME, LOCATION, SERVED, write_workspace
from vfexport_core.settings import PREFIX, load_settings
from vfexport_core.telemetry.logs import logging_config, wants_json

if TYPE_CHECKING:
    from types import FrameType

CONFIGURATION = "dagster.yaml"
DEFINITIONS = "vfexport_dagster.definitions"
PROGRAM = "vfexport_dagster.program"
EXPORTER = "vfexport_dagster.exporter"
LOOPBACK = "127.0.0.1"

_PORT = click.IntRange(1, 65_535)
_READY_SECONDS = 60.0


@click.command()
@click.option("--host", default=LOOPBACK, show_default=True, help="The address that API and UI listen on.")
@click.option("--api-port", default=8000, show_default=True, type=_PORT, help="The API's port.")
@click.option("--api-workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer.")
@click.option("--ui-port", default=3000, show_default=True, type=_PORT, help="The Dagster UI's port.")
@click.option("--code-port", default=4000, show_default=True, type=_PORT, help="The code location's port.")
@click.option(
    "--exporter-port",
    default=9400,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="The port of Dagster's metrics; 0: none.",
)
@click.option(
    "--stop-seconds", default=30.0, show_default=True, type=click.FloatRange(0), help="How long each may take to stop."
)
def serve(
    *,
    host: str,
    api_port: int,
    api_workers: int,
    ui_port: int,
    code_port: int,
    exporter_port: int,
    stop_seconds: float,
) -> None:
    """Run everything on this machine until Ctrl-C: API, Dagster's code location, daemon and web server, their metrics.

    Whatever ends is started again within ten seconds. Dagster's instance is the one that DAGSTER_HOME names. The UI has
    no log-in of its own: leave it on the loopback address, or put a proxy that has one before it.
    """
    settings = load_settings()
    home = dagster_home()
    logging.config.dictConfig(logging_config(settings.log_format))
    os.environ[f"{PREFIX}LOG_FORMAT"] = settings.log_format  # Dagster's programs read no other settings
    dagster = ["--log-format", "json" if wants_json(settings.log_format) else "colored"]
    workspace = ["--workspace", str(write_workspace(home / SERVED, LOOPBACK, code_port))]
    code = ["--host", LOOPBACK, "--port", str(code_port), "--module-name", DEFINITIONS, "--location-name", LOCATION]
    api = ["--host", host, "--port", str(api_port), "--workers", str(api_workers)]
    ui = ["--host", host, "--port", str(ui_port)]
    exporter = ["--host", host, "--port", str(exporter_port)]
    programs = [
        _module("code location", PROGRAM, "dagster", "api", "grpc", *dagster, *code, ready_port=code_port),
        _module("daemon", PROGRAM, "dagster-daemon", "run", *dagster, *workspace),
        _module("web server", PROGRAM, "dagster-webserver", *dagster, *ui, *workspace),
        Program("API", [str(Path(sysconfig.get_path("scripts")) / "vfexport"), "api", *api], os.environ),
    ]
    if exporter_port:
        programs.append(_module("exporter", EXPORTER, *exporter, *workspace))
    supervisor = Supervisor(programs, ready_seconds=_READY_SECONDS, stop_seconds=stop_seconds)

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        supervisor.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    supervisor.run()


def dagster_home() -> Path:
    """Return the folder of the Dagster instance; raises ConfigurationError when there is none to work with."""
    if find_spec("vfexport_dagster") is None or find_spec("dagster_webserver") is None:
        raise ConfigurationError("Dagster is not installed here", payload="dagster")
    home = os.environ.get(HOME, "")
    if not (Path(home) / CONFIGURATION).is_file():
        raise ConfigurationError(f"{HOME} must name a folder that has a {CONFIGURATION}", payload=HOME)
    return Path(home).absolute()


def _module(name: str, module: str, *arguments: str, ready_port: int | None = None) -> Program:
    command = [sys.executable, "-m", module, *arguments]
    if ready_port is None:
        return Program(name, command, os.environ)
    return Program(name, command, os.environ, lambda: _listens(ready_port), stops_last=True)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
