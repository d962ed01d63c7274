"""Running `vfexport` in tests: in this process, or as one of its own that can be waited for and signalled."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result

from vfexport_core.cli.app import vfexport
from vfexport_core.embedded.synthetic import seed_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pymongo.database import Database

COMMAND = [sys.executable, "-m", "vfexport_core.cli"]
CHECKOUT = Path(__file__).parent.parent
_SECONDS = 120


class Cli:
    """`vfexport` with the settings of one test; `folder` is the working directory of the processes.

    `command` is what a process runs, which finds the tests' modules too.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, command: Sequence[str] = COMMAND) -> None:
        self.environment = dict(environment)
        self.folder = folder
        self.command = command

    def run(self, *arguments: str, **environment: str) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(vfexport, arguments, env=self.environment | environment)

    @contextlib.contextmanager
    def process(self, *arguments: str, **environment: str) -> Iterator[CliProcess]:
        """Run a command as a process, killed if it is still there in the end."""
        child = subprocess.Popen(
            [*self.command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **self.environment, **environment},
        )
        with child:
            running = CliProcess(child)
            try:
                yield running
            finally:
                child.kill()
                running.join()


class CliProcess:
    """A running command, whose lines on stderr can be waited for."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child
        self.stdout = ""
        self.stderr = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._threads = [threading.Thread(target=read) for read in (self._read_stdout, self._read_stderr)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, text: str) -> str:
        """Wait for a line on stderr that has this text."""
        while (line := self._lines.get(timeout=_SECONDS)) is not None:
            if text in line:
                return line
        raise AssertionError(f"no line has {text!r}:\n{self.stderr}{self.stdout}")

    def end(self) -> int:
        """Wait for the end; gives the exit status."""
        status = self.child.wait(_SECONDS)
        self.join()
        return status

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _read_stdout(self) -> None:
        assert self.child.stdout is not None
        self.stdout = self.child.stdout.read()

    def _read_stderr(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self.stderr += line
            self._lines.put(line)
        self._lines.put(None)


def load(database: Database[dict[str, Any]], entries: int = 200) -> str:
    """Load a synthetic campaign; gives its id."""
    return seed_campaign(database, entries=entries)


def error_of(text: str) -> dict[str, Any]:
    """Read the one line of JSON that a failed command writes."""
    (line,) = text.splitlines()
    return json.loads(line)["error"]
