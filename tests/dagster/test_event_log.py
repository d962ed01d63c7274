"""What a run has to say while Dagster's storage is away: it waits, and the export does not."""

from __future__ import annotations

import inspect
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.instance import types as instance_types
from dagster._core.instance.methods import event_methods
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.api_client import wait_for
from vfexport_core.embedded.demo.folder import find_checkout
from vfexport_core.pipeline import run as pipeline
from vfexport_core.queue.models import ExportStatus
from vfexport_dagster.startup.event_log import outlast_outages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.engine import ExceptionContext

    from tests.dagster.conftest import Runner
    from vfexport_core.queue.models import Export
    from vfexport_core.queue.repository import ExportRepository

SECONDS = 60


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "dagster"


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Return an instance of the repository's dagster.yaml: SQLite in files, without telemetry."""
    home.mkdir()
    shutil.copy(find_checkout() / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture
def before_delivery(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something done when an export has been claimed and counted, and is about to be written."""

    def arrange(strike: Callable[[], object]) -> None:
        run_export = pipeline.run_export

        def strike_and_run(*arguments: Any, **options: Any) -> Any:
            strike()
            return run_export(*arguments, **options)

        monkeypatch.setattr(pipeline, "run_export", strike_and_run)

    return arrange


def wait_until_finished(store: ExportRepository, export: Export) -> None:
    wait_for(lambda: store.get(export.id).status is ExportStatus.FINISHED, SECONDS)


def assert_all_is_told(runner: Runner, result: dg.ExecuteInProcessResult) -> None:
    """Dagster knows all that the run has done."""
    assert result.success
    run = runner.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.SUCCESS
    kinds = [entry.dagster_event_type for entry in runner.instance.all_logs(result.run_id) if entry.is_dagster_event]
    assert kinds.count(dg.DagsterEventType.STEP_SUCCESS) == 4
    assert dg.DagsterEventType.ASSET_MATERIALIZATION in kinds
    assert any("is FINISHED" in line for line in runner.log(result))


@pytest.mark.parametrize("seconds", [0.1, 5])
def test_an_export_is_finished_while_the_storage_is_away(
    seconds: float, home: Path, runner: Runner, store: ExportRepository, export: Export, *, before_delivery: Any
) -> None:
    history, away = home / "history", home / "away"

    def bring_back() -> None:
        wait_until_finished(store, export)
        time.sleep(seconds)  # it stays away for longer than the export needs it
        away.rename(history)

    returning = threading.Thread(target=bring_back)

    def take_away() -> None:
        history.rename(away)
        returning.start()

    before_delivery(take_away)
    result = runner.run_requested(export)
    returning.join()
    assert_all_is_told(runner, result)


def test_an_export_is_finished_while_the_storage_is_locked(
    home: Path, runner: Runner, store: ExportRepository, export: Export, before_delivery: Any
) -> None:
    locks: list[sqlite3.Connection] = []

    def unlock() -> None:
        wait_until_finished(store, export)
        for lock in locks:
            lock.rollback()

    unlocking = threading.Thread(target=unlock)

    def lock() -> None:
        for file in home.rglob("*.db"):
            connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            locks.append(connection)
        assert locks
        unlocking.start()

    before_delivery(lock)
    result = runner.run_requested(export)
    unlocking.join()
    for connection in locks:
        with closing(connection):
            pass
    assert_all_is_told(runner, result)


@pytest.fixture
def full_disk() -> Iterator[FullDisk]:
    """Have the SQLite files that this process opens grow no more while `is_full`, as on a disk that is."""
    disk = FullDisk()
    event.listen(Engine, "connect", disk.limit)
    event.listen(Engine, "handle_error", disk.note)
    yield disk
    event.remove(Engine, "connect", disk.limit)
    event.remove(Engine, "handle_error", disk.note)


class FullDisk:
    """`refused`: how many writes found no room."""

    def __init__(self) -> None:
        self.is_full = False
        self.refused = 0

    def limit(self, connection: Any, _record: object) -> None:
        if self.is_full:  # a limit below the size of the file is its size; it is the connection's, not the file's
            connection.execute("PRAGMA max_page_count = 1")

    def note(self, context: ExceptionContext) -> None:
        error = context.original_exception
        self.refused += getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def test_an_export_is_finished_while_the_disk_of_the_storage_is_full(
    runner: Runner, store: ExportRepository, export: Export, *, full_disk: FullDisk, before_delivery: Any
) -> None:
    def make_room() -> None:
        wait_until_finished(store, export)
        wait_for(lambda: full_disk.refused > 1, SECONDS)  # what was refused is tried again
        full_disk.is_full = False

    freeing = threading.Thread(target=make_room)

    def fill() -> None:
        full_disk.is_full = True
        freeing.start()

    before_delivery(fill)
    result = runner.run_requested(export)
    freeing.join()
    assert full_disk.refused > 1
    assert_all_is_told(runner, result)


@pytest.mark.parametrize(("version", "value"), [("1.14.0", "true"), (dg.__version__, "false")])
def test_an_instance_is_left_as_it_is_where_that_is_wanted_or_its_dagster_is_not_known(
    version: str, value: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dg, "__version__", version)
    monkeypatch.setenv("VFEXPORT_DAGSTER_ADAPTED", value)
    outlast_outages(instance)
    assert "handle_new_event" not in vars(instance)
    monkeypatch.undo()
    outlast_outages(instance)
    assert "handle_new_event" in vars(instance)


def test_this_dagster_hands_every_event_of_a_run_to_its_instance() -> None:
    """When an upgrade makes this fail, look whether `event_log` still gets all that a run says."""
    assert "self._instance.handle_new_event(" in inspect.getsource(instance_types._EventListenerLogHandler.emit)
    assert "self.handle_new_event(" in inspect.getsource(event_methods.EventMethods.report_dagster_event)
