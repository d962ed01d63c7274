"""The supervisor of `vfexport serve`, on small processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.api_client import wait_for
from vfexport_core.cli import supervisor as module
from vfexport_core.cli.supervisor import Program, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 120
# Says that it lives by appending its process id to a file.
LIVES = "import os, signal, sys; print(os.getpid(), file=open(sys.argv[1], 'a'), flush=True); {}"
WAITS = LIVES.format("signal.pause()")
DIES = LIVES.format("sys.exit(3)")
IGNORES = LIVES.format("signal.signal(signal.SIGTERM, signal.SIG_IGN); [signal.pause() for _ in iter(int, 1)]")
HAS_A_CHILD = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]]);" + LIVES.format("")
)
# Told to stop, it also says which process, named in another file, it finds alive.
LOOKS_AROUND = LIVES.format(
    "signal.signal(signal.SIGTERM, lambda *_: (os.kill(pid := int(open(sys.argv[2]).read()), 0),"
    " print(pid, file=open(sys.argv[1], 'a'), flush=True), sys.exit())); signal.pause()"
)
# A supervisor in a process of its own, to be killed.
SUPERVISES = """
import sys
from vfexport_core.cli.supervisor import Program, Supervisor
import os
program = Program("p", [sys.executable, "-c", sys.argv[2], sys.argv[1]], os.environ)
Supervisor([program], ready_seconds=60, stop_seconds=60).run()
"""


def program(script: str, told: Path, *more: str, **options: object) -> Program:
    command = [sys.executable, "-c", script, str(told), *more]
    return Program(told.name, command, os.environ, **options)  # type: ignore[arg-type]


def lives(told: Path) -> list[int]:
    """Return the processes that a program has had, the latest last."""
    return [int(line) for line in told.read_text().split()] if told.exists() else []


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def supervised(*programs: Program, stop_seconds: float = 60) -> Iterator[None]:
    """Run the programs for the block; afterwards the supervisor has come back."""
    supervisor = Supervisor(programs, ready_seconds=60, stop_seconds=stop_seconds)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield
    finally:
        supervisor.stop()
        thread.join(SECONDS)
    assert not thread.is_alive()


@pytest.fixture
def told(tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: tmp_path / name


def test_what_is_killed_is_started_again_and_all_are_stopped_in_the_end(told: Callable[[str], Path]) -> None:
    one, other = told("one"), told("other")
    with supervised(program(WAITS, one), program(WAITS, other)):
        (first,) = wait_for(lambda: lives(one), SECONDS)
        (neighbour,) = wait_for(lambda: lives(other), SECONDS)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len(lives(one)) == 2, SECONDS)
        assert not is_gone(neighbour), "the others are left alone"
    assert [pid for pid in [*lives(one), *lives(other)] if not is_gone(pid)] == []


def test_what_always_ends_is_started_again_and_again_with_longer_pauses(
    told: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.2)
    path = told("dies")
    with supervised(program(DIES, path)):
        wait_for(lambda: len(lives(path)) >= 6, SECONDS)
    pauses = [record.args[2] for record in caplog.records if "started again" in record.msg]
    assert [round(pause, 2) for pause in pauses[:5]] == [0, 0.05, 0.1, 0.2, 0.2]


def test_the_longest_pause_keeps_the_promise() -> None:
    """A process is back within ten seconds: the pause, and the look before it."""
    assert module.LONGEST_PAUSE_SECONDS + 2 * module._LOOK_SECONDS < 10


def test_one_that_does_not_stop_is_killed_and_so_is_what_it_has_started(told: Callable[[str], Path]) -> None:
    stubborn, parent = told("stubborn"), told("parent")
    with supervised(program(IGNORES, stubborn), program(HAS_A_CHILD, parent, IGNORES), stop_seconds=0.2):
        wait_for(lambda: lives(stubborn), SECONDS)
        # The parent ends at once, and again: what it leaves behind is remembered.
        wait_for(lambda: len(lives(parent)) >= 4, SECONDS)
    assert [pid for pid in [*lives(stubborn), *lives(parent)] if not is_gone(pid)] == []


def test_those_behind_wait_until_one_is_ready(told: Callable[[str], Path]) -> None:
    base, user = told("base"), told("user")
    ready = threading.Event()
    with supervised(program(WAITS, base, is_ready=ready.is_set), program(WAITS, user)):
        wait_for(lambda: lives(base), SECONDS)
        assert lives(user) == []
        ready.set()
        wait_for(lambda: lives(user), SECONDS)


def test_what_others_need_is_stopped_when_they_have(told: Callable[[str], Path]) -> None:
    base, user = told("base"), told("user")
    with supervised(program(WAITS, base, stops_last=True), program(LOOKS_AROUND, user, str(base))):
        wait_for(lambda: lives(base) and lives(user), SECONDS)
    assert lives(user)[1:] == lives(base), "it found the other one alive when it was told to stop"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_when_the_supervisor_is_killed_its_children_stop(told: Callable[[str], Path]) -> None:
    path = told("child")
    with subprocess.Popen([sys.executable, "-c", SUPERVISES, str(path), WAITS]) as supervisor:
        (child,) = wait_for(lambda: lives(path), SECONDS)
        supervisor.kill()
        wait_for(lambda: is_gone(child), SECONDS)
