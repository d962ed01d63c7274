"""Dagster's three processes, as in production: code location, web server, daemon. Nothing of Dagster is imported."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

from vfexport_core.embedded.demo.children import answers
from vfexport_core.embedded.demo.folder import DAGSTER_YAML
from vfexport_core.embedded.process import HOST, free_port, server_failure
from vfexport_core.services.workspace_file import FILE, HOME, LOCATION, write_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from vfexport_core.embedded.demo.children import Children
    from vfexport_core.embedded.process import ServerProcess

DEFINITIONS = "vfexport_dagster.definitions"
PROGRAM = "vfexport_dagster.program"

_LOCATIONS = """{ workspaceOrError { __typename
  ... on PythonError { message }
  ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename ... on PythonError { message } } } }
} }"""


def prepare_home(checkout: Path, folder: Path) -> None:
    """Make DAGSTER_HOME from the repository's dagster.yaml; every process started from here on uses it."""
    home = folder / "dagster"
    home.mkdir()
    shutil.copy(checkout / DAGSTER_YAML, home)
    os.environ[HOME] = str(home)


def start_dagster(children: Children, port: int) -> ServerProcess:
    """Start the three and wait until the web server on `port` has loaded our definitions; gives the daemon.

    Raises EmbeddedServerFailed, also for definitions that cannot be loaded.
    """
    code_port = free_port()
    start_code_location(children, code_port)
    workspace = write_workspace(children.folder / FILE, HOST, code_port)
    # Side by side: each takes seconds to import Dagster.
    daemon = start_daemon(children, workspace)
    start_web_server(children, workspace, port)
    return daemon


def start_code_location(children: Children, port: int) -> ServerProcess:
    """Start the process that has our definitions and executes runs, and wait until it listens on `port`."""
    arguments = ["api", "grpc", "--host", HOST, "--port", str(port), "--module-name", DEFINITIONS]
    code = children.start("Dagster code location", PROGRAM, ["dagster", *arguments, "--location-name", LOCATION])
    children.wait_for(code, lambda: _listens(port))
    return code


def start_daemon(children: Children, workspace: Path) -> ServerProcess:
    """Start the process that evaluates sensors and launches queued runs."""
    return children.start("Dagster daemon", PROGRAM, ["dagster-daemon", "run", "--workspace", str(workspace)])


def start_web_server(children: Children, workspace: Path, port: int) -> ServerProcess:
    """Start the process that serves the UI on `port`, and wait until it has loaded our definitions."""
    arguments = ["--host", HOST, "--port", str(port), "--workspace", str(workspace)]
    web = children.start("Dagster web server", PROGRAM, ["dagster-webserver", *arguments])
    children.wait_for(web, lambda: answers(port, "/server_info"))
    children.wait_for(web, lambda: _has_loaded(port, web))
    return web


def _listens(port: int) -> bool:
    """Return whether the code location takes connections: it does so when the definitions are loaded."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _has_loaded(port: int, web: ServerProcess) -> bool:
    try:
        found = _ask(port, _LOCATIONS)["workspaceOrError"]
    except (OSError, http.client.HTTPException):
        return False
    entries: list[dict[str, Any]] = found.get("locationEntries") or []
    loads = [entry["locationOrLoadError"] or {} for entry in entries]
    for problem in (found, *loads):
        if "message" in problem:
            raise server_failure(web.name, f"could not load {DEFINITIONS}: {problem['message']}", web.log)
    return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)


def _ask(port: int, query: str) -> dict[str, Any]:
    """Send a GraphQL query to the web server."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        body = json.dumps({"query": query})
        connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
        return json.load(connection.getresponse())["data"]
    finally:
        connection.close()
