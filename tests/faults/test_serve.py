"""`vfexport serve`: whatever of it is killed comes back, and the queue moves; told to stop, it leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from tests.api_client import wait_for
from tests.conftest import new_database
from tests.faults.dagster.service import kill_all_of
from tests.servers import unique
from vfexport_core.embedded import embedded_environment
from vfexport_core.embedded.demo.folder import find_checkout
from vfexport_core.embedded.process import free_port
from vfexport_core.embedded.synthetic import seed_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo import MongoClient

    from vfexport_core.embedded import MongoServer, S3Server

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("whole service")]
SECONDS = 120
VFEXPORT = Path(sysconfig.get_path("scripts")) / "vfexport"
# A word of each process's command line.
PROCESSES = {
    "code location": "dagster",
    "daemon": "dagster-daemon",
    "web server": "dagster-webserver",
    "API": "vfexport",
    "exporter": "vfexport_dagster.exporter",
}


class Served:
    """A running `vfexport serve`, in an environment of its own."""

    def __init__(self, folder: Path, environment: dict[str, str], campaign: str) -> None:
        self.campaign = campaign
        self.home = folder / "dagster"
        self.home.mkdir()
        shutil.copy(find_checkout() / "dagster.yaml", self.home)
        ports = [free_port() for _ in range(4)]
        names = ("--api-port", "--ui-port", "--code-port", "--exporter-port")
        options = [word for name, port in zip(names, ports, strict=True) for word in (name, str(port))]
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith(("VFEXPORT_", "DAGSTER_"))
        }
        variables |= environment | {"DAGSTER_HOME": str(self.home)}
        subprocess.run([VFEXPORT, "init"], env=variables, cwd=folder, check=True, capture_output=True, timeout=SECONDS)
        self.log = folder / "serve.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [VFEXPORT, "serve", *options], env=variables, cwd=folder, stdout=log, stderr=subprocess.STDOUT
            )
        self.api = f"http://127.0.0.1:{ports[0]}"
        self.ui = f"http://127.0.0.1:{ports[1]}"
        self.exporter = f"http://127.0.0.1:{ports[3]}"
        # One for all: to make a client, which reads the system's certificates, takes longer than most requests.
        self.http = httpx.Client(timeout=SECONDS)

    def children(self) -> dict[str, int]:
        """Return the processes that are up, by their names."""
        found: dict[str, int] = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                words = {Path(word).name for word in child.cmdline()[1:4]}
                found |= {name: child.pid for name, of_process in PROCESSES.items() if of_process in words}
        return found

    def wait_until_up(self, *but: int) -> dict[str, int]:
        """Wait until each process is up, none of them one of these, and API and UI answer."""

        def look() -> dict[str, int] | None:
            assert self.process.poll() is None, self.log.read_text()
            up = self.children()
            is_up = up.keys() == PROCESSES.keys() and not set(up.values()) & set(but)
            urls = (f"{self.api}/ready", f"{self.ui}/server_info", self.exporter)
            return up if is_up and all(map(self.answers, urls)) else None

        return wait_for(look, SECONDS)

    def export(self) -> str:
        """Have the campaign exported; gives the status in which that ends."""
        body: dict[str, Any] = {"userId": "admin-1", "permissions": {"*": ["REPORT"]}}
        token = self.http.post(f"{self.api}/dev/token", json=body).raise_for_status().json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        path = f"{self.api}/campaigns/{self.campaign}/exports"
        asked = self.http.post(path, json={"exportType": "entries"}, headers=headers)
        path = f"{path}/{asked.raise_for_status().json()['id']}"

        def ended() -> str | None:
            status = self.http.get(path, headers=headers).raise_for_status().json()["status"]
            return None if status in {"PENDING", "TRIGGERED"} else status

        return wait_for(ended, SECONDS)

    def answers(self, url: str) -> bool:
        try:
            return self.http.get(url).is_success
        except httpx.TransportError:
            return False

    def left(self) -> list[int]:
        """Return all processes that have this instance in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("DAGSTER_HOME") == str(self.home):
                    found.append(process.pid)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    mongo_server: MongoServer,
    s3_server: S3Server,
    mongo_client: MongoClient[dict[str, Any]],
) -> Iterator[Served]:
    environment = embedded_environment(mongo_server, s3_server, bucket_suffix=unique("-serve"))
    with new_database(mongo_client) as database:
        environment["VFEXPORT_MONGO_DATABASE"] = database.name
        served = Served(tmp_path_factory.mktemp("serve"), environment, seed_campaign(database, entries=100))
        try:
            served.wait_until_up()
            yield served
        finally:
            served.process.kill()
            served.process.wait()
            served.http.close()
            kill_all_of(served.home)


def test_an_export_is_made_and_every_line_of_the_log_has_one_shape(served: Served) -> None:
    assert served.export() == "FINISHED"
    whole, _, _ = served.log.read_bytes().rpartition(b"\n")  # its processes go on writing
    for line in whole.splitlines():
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys(), line


def test_what_dagster_does_is_to_be_had_as_metrics_also_when_the_exporter_was_killed(served: Served) -> None:
    before = served.wait_until_up()
    os.kill(before["exporter"], signal.SIGKILL)
    after = served.wait_until_up(before["exporter"])
    assert {**after, "exporter": before["exporter"]} == before
    assert "vfexport_dagster_storage_up 1.0" in served.http.get(f"{served.exporter}/metrics").text


@pytest.mark.parametrize("name", [name for name in PROCESSES if name != "exporter"])
def test_a_process_that_is_killed_comes_back_and_the_queue_moves(name: str, served: Served) -> None:
    before = served.wait_until_up()
    os.kill(before[name], signal.SIGKILL)
    after = served.wait_until_up(before[name])
    assert {one: pid for one, pid in after.items() if one != name} == {
        one: pid for one, pid in before.items() if one != name
    }
    assert served.export() == "FINISHED"


def test_all_processes_are_killed_at_once(served: Served) -> None:
    before = served.wait_until_up()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    served.wait_until_up(*before.values())
    assert served.export() == "FINISHED"


def test_told_to_stop_it_leaves_nothing(served: Served) -> None:
    served.wait_until_up()
    served.process.terminate()
    assert served.process.wait(SECONDS) == 0
    assert served.left() == []
