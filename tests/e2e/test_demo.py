"""`vfexport demo`, as a newcomer runs it; nothing of it is left behind, however it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.api_client import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "DEMO_TEST_MARK"
TYPES = ("entries", "scoring")

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("whole service")]


class Demo:
    """A running demo; its processes are known by a variable in their environment."""

    def __init__(self, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        types = [word for name in TYPES for word in ("--type", name)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vfexport_core.cli", "demo", "--entries", "300", *types, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, MARK: self.mark},
        )
        self.output = ""

    def read_until(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return
        raise AssertionError(f"no line has {text!r}:\n{self.output}")

    def end(self) -> int:
        assert self.process.stdout is not None
        self.output += self.process.stdout.read()
        return self.process.wait(120)

    def left(self) -> list[str]:
        """Name the processes of this demo that are still there, itself not counted."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != self.process.pid and process.environ().get(MARK) == self.mark:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


@contextmanager
def running(*arguments: str) -> Iterator[Demo]:
    demo = Demo(*arguments)
    with demo.process:
        try:
            yield demo
        finally:
            demo.process.kill()


def test_once_exports_prints_and_leaves_nothing() -> None:
    with running("--once") as demo:
        assert demo.end() == 0, demo.output
        assert demo.left() == []
    for name in TYPES:
        assert re.search(rf"^{name} +FINISHED  +300 rows", demo.output, re.MULTILINE), demo.output
    keys = re.findall(r"^  key      [0-9a-f]{24}/(\w+)/.+\.csv$", demo.output, re.MULTILINE)
    assert tuple(keys) == TYPES
    assert len(set(re.findall(r"^  SHA-256  ([0-9a-f]{64})$", demo.output, re.MULTILINE))) == len(TYPES)
    assert "bucket   vfexport-scoring" in demo.output


def test_it_stays_up_until_ctrl_c_at_the_printed_addresses() -> None:
    with running() as demo:
        demo.read_until("Ctrl-C stops everything")
        addresses = dict(re.findall(r"^(Dagster UI|API|API docs) +(http://\S+)$", demo.output, re.MULTILINE))
        assert _status(addresses["Dagster UI"]) == _status(addresses["API docs"]) == 200
        assert _status(addresses["API"] + "/ready") == 200
        lines = dict(re.findall(r"^(Campaign|Waves|Request|Shell) +(.+)$", demo.output, re.MULTILINE))
        campaign = lines["Campaign"].split()[0]
        if shutil.which("curl"):
            assert _pasted(lines["Request"])["campaignId"] == campaign
        waves = lines["Shell"].replace(" exports list", f" waves {campaign} --json")
        assert _pasted(waves) == lines["Waves"].split()
        (newest,) = _pasted(f"{lines['Shell']} --type scoring --json")
        assert _pasted(lines["Shell"].replace(" exports list", f" verify {newest['id']} --json"))["ok"]
        demo.process.send_signal(signal.SIGINT)
        assert demo.end() == 0, demo.output
        assert demo.left() == []


def test_nothing_outlives_a_demo_that_is_killed() -> None:
    with running() as demo:
        demo.read_until("Dagster ")
        assert len(demo.left()) > 5  # what is looked for is there
        demo.process.kill()
        wait_for(lambda: not demo.left(), seconds=30)


def _pasted(line: str) -> Any:
    """Run a line as it is pasted into a shell of a machine where nothing else is set; gives the JSON that it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VFEXPORT_", "AWS_"))}
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _status(url: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status
    finally:
        connection.close()
