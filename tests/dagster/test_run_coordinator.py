"""When Dagster's daemon looks into its queue, and that it can be left to the configuration."""

from __future__ import annotations

import inspect
import shutil
import threading
from itertools import islice
from typing import TYPE_CHECKING

import dagster
import dagster as dg
import pytest
from alembic.script import ScriptDirectory
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.controller import create_daemon_of_type
from dagster._daemon.daemon import IntervalDaemon, SpanMarker
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon
from dagster_shared.error import SerializableErrorInfo

from vfexport_core.embedded.demo.folder import find_checkout
from vfexport_dagster.startup import run_coordinator
from vfexport_dagster.startup.known import KNOWN_VERSIONS
from vfexport_dagster.startup.run_coordinator import LOOK_SECONDS, PromptRunCoordinator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OWN_LOOK = QueuedRunCoordinatorDaemon.run_iteration
STEP_SECONDS = 0.5
AN_HOUR = 3600


@pytest.fixture(autouse=True)
def own_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back behind each test what is Dagster's and Alembic's own."""
    monkeypatch.setattr(QueuedRunCoordinatorDaemon, "run_iteration", OWN_LOOK)
    monkeypatch.setattr(ScriptDirectory, "from_config", ScriptDirectory.from_config)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Return an instance of the repository's dagster.yaml."""
    shutil.copy(find_checkout() / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def daemon_of(instance: dg.DagsterInstance) -> QueuedRunCoordinatorDaemon:
    """Return what Dagster makes for this instance."""
    daemon = create_daemon_of_type(QueuedRunCoordinatorDaemon.daemon_type(), instance)
    assert isinstance(daemon, QueuedRunCoordinatorDaemon)
    return daemon


def add_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    location = RegisteredCodeLocationOrigin("vfexport")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "entries_export")
    return create_run_for_test(instance, status=status, remote_job_origin=origin)


class Waits:
    """Waits in the place of the daemon: notes for how long its loop does, and does something meanwhile."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.seconds: list[float] = []
        self._meanwhile = meanwhile

    def wait(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._meanwhile()


class Told(threading.Event):
    """The event by which a daemon is told to end, for which its own loop waits."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._waits.wait(timeout)
        return False


class Looks:
    """The loop of the daemon that Dagster makes for this instance; `count` says how often it has looked for runs."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        monkeypatch: pytest.MonkeyPatch,
        waits: Waits,
        *,
        fails: bool = False,
        interval_seconds: int = AN_HOUR,
    ) -> None:
        self.count = 0
        self._fails = fails
        daemon = daemon_of(instance)
        daemon.interval_seconds = interval_seconds
        monkeypatch.setattr(daemon, "_get_runs_to_dequeue", self._look)
        monkeypatch.setattr(run_coordinator, "sleep", waits.wait)
        context = object.__new__(WorkspaceProcessContext)  # without code locations: nothing is launched
        monkeypatch.setattr(WorkspaceProcessContext, "instance", instance)
        self._loop = daemon.core_loop(context, Told(waits))

    def _look(self, *_: object, **__: object) -> list[dg.DagsterRun]:
        self.count += 1
        if self._fails:
            raise RuntimeError("the storage is away")
        return []

    def go_on(self, times: int) -> list[object]:
        """Take so many of what the loop yields, but for the marks of a look's begin and end; it goes on for ever."""
        return [*islice((found for found in self._loop if not isinstance(found, SpanMarker)), times)]


def test_the_next_run_is_looked_for_as_soon_as_one_ends(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = add_run(instance, dg.DagsterRunStatus.STARTED)
    add_run(instance, dg.DagsterRunStatus.QUEUED)

    def end_at_the_fifth() -> None:
        if len(waits.seconds) == 5:
            instance.report_run_canceled(running)

    waits = Waits(end_at_the_fifth)
    looks = Looks(instance, monkeypatch, waits)
    looks.go_on(4)
    assert (looks.count, waits.seconds) == (1, [LOOK_SECONDS] * 4), "the run goes on"
    looks.go_on(2)
    assert (looks.count, waits.seconds) == (2, [*[LOOK_SECONDS] * 5, STEP_SECONDS])


def test_at_the_interval_it_looks_all_the_same(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits may have been cancelled, or there are places for more."""
    add_run(instance, dg.DagsterRunStatus.STARTED)
    add_run(instance, dg.DagsterRunStatus.QUEUED)
    looks = Looks(instance, monkeypatch, Waits(), interval_seconds=0)
    looks.go_on(3)
    assert looks.count == 3


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(dg.DagsterRunStatus.STARTED, id="one runs and none waits"),
        pytest.param(dg.DagsterRunStatus.QUEUED, id="one waits for its code location"),
    ],
)
def test_nothing_is_asked_while_no_run_waits_for_another(
    status: dg.DagsterRunStatus, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(instance, status)
    waits = Waits()
    looks = Looks(instance, monkeypatch, waits)
    looks.go_on(1)

    def refuse(*_: object) -> int:
        raise AssertionError("asked")

    monkeypatch.setattr(dg.DagsterInstance, "get_runs_count", refuse)
    assert looks.go_on(5) == [None] * 5
    assert (looks.count, waits.seconds) == (1, [STEP_SECONDS] * 6)


def test_a_look_that_fails_is_reported_and_waits_for_the_next_one(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Waits()
    looks = Looks(instance, monkeypatch, waits, fails=True)
    found = looks.go_on(3)
    assert isinstance(found[0], SerializableErrorInfo)
    assert "the storage is away" in found[0].message
    assert (looks.count, found[1:], waits.seconds) == (1, [None, None], [STEP_SECONDS] * 2)


def test_a_storage_that_goes_away_while_a_run_waits_is_reported_once(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(instance, dg.DagsterRunStatus.STARTED)
    add_run(instance, dg.DagsterRunStatus.QUEUED)
    waits = Waits()
    looks = Looks(instance, monkeypatch, waits)
    looks.go_on(1)

    def fail(*_: object) -> int:
        raise OSError("the storage is away")

    monkeypatch.setattr(dg.DagsterInstance, "get_runs_count", fail)
    found = looks.go_on(4)
    assert [isinstance(one, SerializableErrorInfo) for one in found] == [True, False, False, False]
    assert (looks.count, waits.seconds) == (1, [LOOK_SECONDS] + [STEP_SECONDS] * 3)


def test_the_repositorys_instance_has_this_loop_and_the_configured_interval(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, PromptRunCoordinator)
    daemon = daemon_of(instance)
    assert daemon.interval_seconds == 1
    assert type(daemon).run_iteration is not OWN_LOOK


@pytest.mark.parametrize("value", ["false", "0", "off"])
def test_a_setting_leaves_the_loop_to_dagster(
    value: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFEXPORT_PROMPT_DEQUEUING", value)
    assert type(daemon_of(instance)).run_iteration is OWN_LOOK


def test_with_an_unknown_dagster_the_loop_is_its_own(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dagster, "__version__", "2.0.0")
    assert type(daemon_of(instance)).run_iteration is OWN_LOOK
    assert "VFEXPORT_PROMPT_DEQUEUING is off" in caplog.text


def test_this_dagster_dequeues_as_is_relied_on() -> None:
    """When an upgrade makes this fail, look what Dagster's loop does now, then name the version."""
    assert dagster.__version__.startswith(KNOWN_VERSIONS)
    assert QueuedRunCoordinatorDaemon.core_loop is IntervalDaemon.core_loop
    loop = inspect.getsource(IntervalDaemon.core_loop)
    assert "yield from self.run_iteration(workspace_process_context)" in loop
    assert f"shutdown_event.wait({STEP_SECONDS})" in loop
    assert "instance.run_coordinator.dequeue_interval_seconds" in inspect.getsource(create_daemon_of_type)
