"""Dagster's code location, daemon and web server, each a process that a scenario can kill and start again.

What Dagster knows of a run is asked of its storage from here. The web server is started where a button is pressed.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg
import psutil

from tests.api_client import wait_for
from vfexport_core.embedded.demo.dagster import start_code_location, start_daemon, start_web_server
from vfexport_core.embedded.process import HOST, free_port
from vfexport_core.services.workspace_file import FILE, write_workspace
from vfexport_dagster.runs import LIVE

if TYPE_CHECKING:
    from pathlib import Path

    from vfexport_core.embedded.demo.children import Children
    from vfexport_core.embedded.process import ServerProcess

HELD_SECONDS = 60
# Larger than any answer but those that carry rows, and the one about the collections' validators.
DATA_BYTES = 10_000
VALIDATORS = b"bsonType"


class ScanGate:
    """Holds rows on their way from MongoDB to a run: in mid-scan, while the run's heart goes on beating."""

    def __init__(self) -> None:
        self.arrived, self._open = threading.Event(), threading.Event()
        self._open.set()

    def close(self) -> None:
        self.arrived.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def on_block(self, is_from_client: bool, block: bytes) -> None:
        if not (is_from_client or self._open.is_set() or len(block) < DATA_BYTES or VALIDATORS in block):
            self.arrived.set()
            self._open.wait(HELD_SECONDS)


@dataclass
class Service:
    """See the module; `home` is DAGSTER_HOME, which the environment names."""

    children: Children
    home: Path
    code_port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    _processes: dict[str, ServerProcess] = field(default_factory=dict)
    _instance: dg.DagsterInstance | None = None

    @property
    def instance(self) -> dg.DagsterInstance:
        """What Dagster has stored; to open it takes longer than to ask it."""
        if self._instance is None:
            self._instance = dg.DagsterInstance.get()
        return self._instance

    def close(self) -> None:
        if self._instance is not None:
            self._instance.dispose()
            self._instance = None

    def latest_run(self, export_id: str) -> dg.DagsterRun | None:
        found = self.instance.get_runs(dg.RunsFilter(tags={"export_id": export_id}), limit=1)
        return found[0] if found else None

    def logs(self, run_id: str) -> list[str]:
        return [entry.message for entry in self.instance.all_logs(run_id)]

    def process_of(self, run_id: str) -> int:
        """Return the id of the process that executes a run, as its log tells."""
        found = wait_for(lambda: {*re.findall(r"in process \(pid: (\d+)", "\n".join(self.logs(run_id)))}, HELD_SECONDS)
        (pid,) = found
        return int(pid)

    def serve_ui(self) -> None:
        """Start the web server unless it is there."""
        if "web" not in self._processes:
            self.start("web")

    def start(self, *names: str) -> None:
        """Start what is named: code, daemon, web; the code location listens before the others begin."""
        workspace = write_workspace(self.children.folder / FILE, HOST, self.code_port)
        if "code" in names:
            self._processes["code"] = start_code_location(self.children, self.code_port)
        if "daemon" in names:
            self._processes["daemon"] = start_daemon(self.children, workspace)
        if "web" in names:
            self._processes["web"] = start_web_server(self.children, workspace, self.web_port)

    def kill(self, *names: str) -> None:
        """Kill -9 what is named at the same time, and nothing that it has started."""
        with ThreadPoolExecutor(len(names)) as pool:
            [*pool.map(lambda name: self._processes[name].kill(), names)]

    def tell_to_end(self, name: str) -> psutil.Process:
        """Send SIGTERM, as every deployment does, and do not wait for the end."""
        told = psutil.Process(self._processes[name].pid)
        told.terminate()
        return told

    def replace(self, name: str) -> None:
        """Have a process end by itself, and start it anew."""
        self.tell_to_end(name).wait(HELD_SECONDS)
        self._processes[name].stop()
        self.start(name)

    def wipe(self) -> None:
        """Lose all that Dagster has stored, with the processes that have it open."""
        self.close()
        for name in [*self._processes]:
            self._processes.pop(name).stop()
        for left in self.home.iterdir():
            if left.is_dir():
                shutil.rmtree(left)

    def template(self) -> int:
        """Return the process that runs are forked from."""
        (found,) = [
            child.pid
            for child in psutil.Process(self._processes["code"].pid).children()
            if any("forkserver" in argument for argument in child.cmdline())
        ]
        return found

    def staying(self) -> set[int]:
        """Return the service's own processes: those started here, supervisors, what they keep for themselves."""
        found: set[int] = set()
        for process in self._processes.values():
            server = psutil.Process(process.pid)
            found |= {server.pid, server.ppid(), *(child.pid for child in server.children())}
        return found

    def assert_no_run_is_left(self) -> None:
        """Every export has ended: wait until Dagster knows so of every run."""
        live = dg.RunsFilter(statuses=LIVE)
        wait_for(lambda: not self.instance.get_runs(live), HELD_SECONDS)


def kill_all_of(home: Path) -> None:
    """Kill what was started with this DAGSTER_HOME and has outlived its parents."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("DAGSTER_HOME") == str(home):
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
