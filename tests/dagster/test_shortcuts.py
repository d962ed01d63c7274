"""What runs that are forked from one process do not do anew, and what of Dagster's private parts that leans on."""

from __future__ import annotations

import inspect
import io
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as db
from alembic.script import ScriptDirectory
from dagster._core.execution import compute_logs
from dagster._core.storage import sql
from dagster._core.test_utils import create_run_for_test

from tests.dagster.conftest import READ_ANEW
from vfexport_dagster.startup import shortcuts
from vfexport_dagster.startup.known import KNOWN_VERSIONS

if TYPE_CHECKING:
    from pathlib import Path

MIRROR = """
import sys, time
from dagster._core.execution.compute_logs import mirror_stream_to_file
from vfexport_dagster.startup import shortcuts
shortcuts.watch_no_tails()
with mirror_stream_to_file(sys.stdout, sys.argv[1]) as (tail, watcher):
    print("said", watcher, flush=True)
    time.sleep(float(sys.argv[2]))
"""


def revisions(folder: Path) -> set[str]:
    """Return the revisions that the SQLite databases below a folder say they are of."""
    found: set[str] = set()
    for path in folder.rglob("*.db"):
        with db.create_engine(f"sqlite:///{path}").connect() as connection:
            found.update(connection.execute(db.text("SELECT version_num FROM alembic_version")).scalars())
    return found


def keep_a_run(folder: Path) -> None:
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.report_engine_event("one of its events", create_run_for_test(instance))


def test_migrations_are_read_once_for_all_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("by itself", "remembered")]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(ScriptDirectory, "from_config", READ_ANEW)  # what is there is put back after the test
    keep_a_run(folders[0])
    shortcuts.read_migrations_once()
    shortcuts.read_migrations()

    def refuse(_: ScriptDirectory) -> Any:
        raise AssertionError("they are read again")

    monkeypatch.setattr(ScriptDirectory, "_load_revisions", refuse)
    keep_a_run(folders[1])
    assert revisions(folders[1]) == revisions(folders[0])
    assert len(revisions(folders[1])) == 1


def test_one_engine_is_made_for_each_database_and_keeps_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[db.Engine] = []

    def create(url: str, **options: Any) -> db.Engine:
        made.append(db.create_engine(url, **options))
        return made[-1]

    monkeypatch.setattr(shortcuts, "create_engine", create)
    for storage in shortcuts.STORAGES:
        monkeypatch.setattr(storage, "create_engine", None)  # is put back after the test
    shortcuts.make_engines_once()
    keep_a_run(tmp_path)
    keep_a_run(tmp_path)
    files = [engine.url.database for engine in made]
    # Beside those: runs, schedules and the index of all events.
    assert len(files) == len({*files}) == 2 + 3
    assert {str(path) for path in tmp_path.rglob("*.db")} == {*files}
    assert {type(engine.pool) for engine in made} == {db.NullPool}


def mirror(path: Path, seconds: float) -> subprocess.Popen[str]:
    """Start a process that prints a line, mirrored from a file, and ends after so many seconds."""
    return subprocess.Popen([sys.executable, "-c", MIRROR, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only")
def test_what_a_killed_run_printed_is_mirrored_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    with mirror(tmp_path / "out", 600) as process:
        assert said(process) == "said None", "no process watches the one that mirrors"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.communicate(timeout=60)[0] == "", "the stream ends with all that had it"


@pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only")
def test_the_last_line_is_mirrored_however_soon_the_end_comes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute_logs, "execute_posix_tail", compute_logs.execute_posix_tail)
    shortcuts.watch_no_tails()
    for number in range(20):
        path, target = tmp_path / f"{number}.err", tmp_path / f"{number}.mirrored"
        path.touch()
        with target.open("w") as stream, compute_logs.execute_posix_tail(str(path), stream):
            path.write_text(f"the only line of {number}\n")
        assert target.read_text() == f"the only line of {number}\n"
    with compute_logs.execute_posix_tail(str(tmp_path / "0.err"), io.StringIO()):
        """A stream that is none of the operating system's: it is printed where this process prints."""
    assert capfd.readouterr().out == "the only line of 0\n"


@pytest.mark.parametrize(
    "version", ["", "BusyBox v1.36.1"], ids=["a program that fails", "one that does not know how to wait"]
)
def test_where_tail_cannot_wait_for_a_process_dagsters_own_way_stays(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tail"
    program.write_text(f"#!/bin/sh\necho '{version}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    own = compute_logs.execute_posix_tail
    monkeypatch.setattr(compute_logs, "execute_posix_tail", own)
    shortcuts.watch_no_tails()
    assert compute_logs.execute_posix_tail is own


def test_this_dagster_does_what_is_cut_short() -> None:
    """When an upgrade makes this fail, look whether `shortcuts` still does what it says, then name the version."""
    assert dg.__version__.startswith(KNOWN_VERSIONS)
    assert "ScriptDirectory.from_config(alembic_config)" in inspect.getsource(sql.check_alembic_revision)
    for storage in shortcuts.STORAGES:
        calls = inspect.getsource(storage).split("create_engine(")[1:]
        assert len(calls) >= 2
        assert all("poolclass=NullPool" in call[:120] for call in calls)
    assert "execute_posix_tail(path, stream)" in inspect.getsource(compute_logs.tail_to_stream)
    own = inspect.getsource(compute_logs.execute_posix_tail)
    assert '["tail", "-F", "-c", "+0", path]' in own
    assert "yield (tail_process.pid, watcher_process.pid)" in own
    assert "_clean_up_subprocess(tail_process)" in own
    assert 'time.sleep(float(os.getenv("DAGSTER_COMPUTE_LOG_TAIL_WAIT_AFTER_FINISH", "0")))' in own
    assert "stream if _fileno(stream) else None" in own
