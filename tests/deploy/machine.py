"""Running the processes of `deploy/` on this machine as their containers would run them.

What is taken from a container's world: its command, the settings it is given and no others, its folders. What is the
container's own is mapped: paths of the image, ports, names of other containers. As root, on Linux, a process also gets
the user of the image (10001) without any capability but to read, and a file system on which it can write to its
volumes alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import psutil

from vfexport_core.embedded.process import HOST, ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deploy.image import Image
    from tests.deploy.processes import Process

USER = 10001
PORTS = ("8000", "4000", "3000", "9400")
OTHER_CONTAINERS = {"code", "postgres"}
HOME = "/home/vfexport"
STOP_SECONDS = 60
CHECK_SECONDS = 60

# Reading alone is left to it: this machine's interpreter may be in a folder that is closed to others.
_UNPRIVILEGED = f"""set -e
while [ "$1" != -- ]; do mount --bind "$1" "$1"; shift; done
mount -o remount,bind,ro /
exec setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs --bounding-set=-all,+dac_read_search \
    --inh-caps=-all,+dac_read_search --ambient-caps=+dac_read_search -- "${{@:2}}"
"""


@cache
def isolates() -> bool:
    """Return whether processes can be given a user and a read-only file system here."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "bash"))):
        return False
    return subprocess.run([*_isolated([]), "true"], capture_output=True, check=False).returncode == 0


def _isolated(writable: list[Path]) -> list[str]:
    shell = ["bash", "-c", _UNPRIVILEGED, "bash"]
    return ["unshare", "--mount", "--propagation", "private", *shell, *map(str, writable), "--"]


@dataclass
class Machine:
    """Starts processes; `secrets` are the settings by the name of their secret or file."""

    folder: Path
    image: Image
    secrets: dict[str, dict[str, str]]
    config_maps: dict[str, Path] = field(default_factory=dict)
    """What the files are that are put over those of the image, by their keys."""
    ports: dict[str, str] = field(default_factory=lambda: {port: str(free_port()) for port in PORTS})
    running: dict[str, ServerProcess] = field(default_factory=dict)

    def run(self, process: Process, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command (the process's own unless given) in the world of a process, to its end."""
        before, environment, folder = self._world(process)
        return subprocess.run(
            [*before, *self._mapped(process, command or process.command)],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            check=False,
        )

    @contextmanager
    def started(self, process: Process) -> Iterator[ServerProcess]:
        """Start a process, and stop it in the end."""
        before, environment, folder = self._world(process)
        command = [*before, *self._mapped(process, process.command)]
        log = self.folder / f"{_file_name(process)}.log"
        with ServerProcess(
            process.name, command, log, stop_seconds=STOP_SECONDS, environment=environment, folder=folder
        ) as server:
            self.running[process.name] = server
            yield server

    def end(self, process: Process) -> None:
        """Tell a process to end (SIGTERM), as a container engine does, and wait until it has."""
        told = psutil.Process(self.running[process.name].pid)
        told.terminate()
        told.wait(STOP_SECONDS)

    def log(self, process: Process) -> str:
        return (self.folder / f"{_file_name(process)}.log").read_text()

    def url(self, port: str | int) -> str:
        return f"http://{HOST}:{self.ports[str(port)]}"

    def home(self, process: Process) -> Path:
        """Return the folder of a process's own."""
        return self.folder / _file_name(process)

    def memory(self, process: Process) -> int:
        """Return what a process and those that it started hold in memory, in MiB; shared pages count for each."""
        first = psutil.Process(self.running[process.name].pid)
        return sum(each.memory_info().rss for each in [first, *first.children(recursive=True)]) >> 20

    def cpu_seconds(self, process: Process) -> float:
        """Return the processor time of a process and of those that it started."""
        first = psutil.Process(self.running[process.name].pid)
        times = [each.cpu_times() for each in [first, *first.children(recursive=True)]]
        return sum(each.user + each.system for each in times)

    def _world(self, process: Process) -> tuple[list[str], dict[str, str], Path]:
        """Return the words before a command, its environment and its working directory."""
        own = self.home(process)
        places = {inside: self._place(process, inside, shared) for inside, shared in process.volumes.items()}
        for inside in ("/tmp", HOME, "/var/lib/dagster"):
            (own / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
        link = self.dagster_home(process) / "dagster.yaml"
        if not link.is_symlink():
            link.symlink_to(self._configuration(process))
        environment = {name: self._of_process(process, value) for name, value in self.image.variables().items()}
        for secret in process.secrets:
            environment |= self.secrets[secret]
        for name, value in process.variables.items():
            environment[name] = HOST if value in OTHER_CONTAINERS else self._of_process(process, value)
        environment |= {"HOME": str(own / HOME.lstrip("/")), "TMPDIR": str(places.get("/tmp", own / "tmp"))}
        return (_isolated([*places.values()]) if isolates() else []), environment, own / HOME.lstrip("/")

    def _place(self, process: Process, inside: str, shared: str | None) -> Path:
        """Return a folder that stands for a volume, writable for the image's user."""
        place = (self.folder / "volumes" / shared) if shared else self.home(process) / inside.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        if isolates():
            os.chown(place, USER, USER)
        return place

    def _configuration(self, process: Process) -> Path:
        """Return the file that a process finds as its Dagster configuration."""
        inside = next((key for path, key in process.files.items() if path.endswith("/dagster.yaml")), None)
        return self.image.path("/etc/vfexport/dagster.yaml") if inside is None else self.config_maps[inside]

    def dagster_home(self, process: Process) -> Path:
        """Return the folder that is DAGSTER_HOME for a process."""
        shared = process.volumes.get("/var/lib/dagster")
        return self.folder / "volumes" / shared if shared else self.home(process) / "var/lib/dagster"

    def _of_process(self, process: Process, text: str) -> str:
        """Return a text of the image's with DAGSTER_HOME as the process has it, not as the image has."""
        home = str(self.image.path("/var/lib/dagster"))
        return self.image.mapped(text).replace(home, str(self.dagster_home(process)))

    def _mapped(self, process: Process, command: list[str]) -> list[str]:
        return [self._word(process, word) for word in command]

    def _word(self, process: Process, word: str) -> str:
        word = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: self.ports[found[1]], word)
        return self._of_process(process, word.replace("0.0.0.0", HOST))


def _file_name(process: Process) -> str:
    return process.name.replace("/", "-")
