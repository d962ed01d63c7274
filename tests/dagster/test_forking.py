"""What runs are forked from, and the flag by which they are told to stop."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import dagster
import dagster._grpc.server
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.types import ExecuteExternalJobArgs
from dagster._serdes import serialize_value

from vfexport_core.process_flag import ProcessFlag
from vfexport_dagster.startup import forking
from vfexport_dagster.startup.known import KNOWN_VERSIONS
from vfexport_dagster.tags import requested_tags

if TYPE_CHECKING:
    from pathlib import Path

    from vfexport_core.queue.models import Export

SPAWNING = multiprocessing.get_context("spawn")

REPORT_THREADS = """
import importlib, os, sys
importlib.import_module(sys.argv[1])
print(len(os.listdir("/proc/self/task")), *{"numpy", "pyarrow"} & sys.modules.keys())
"""

FORK = """
import multiprocessing, shutil, sys
from multiprocessing import util
from tests.dagster.test_forking import report
from vfexport_dagster.startup import forking
forking.fork_runs()
context = multiprocessing.get_context("spawn")
if sys.argv[1:] == ["cleaned"]:
    shutil.rmtree(util.get_temp_dir())
queue, event = context.Queue(), context.Event()
process = context.Process(target=report, args=(queue, event))
process.start()
event.set()
print(*queue.get(timeout=60))
process.join()
print(process.exitcode)
"""

REPORT_IMPORTS = """
import importlib, multiprocessing, os, pickle, sys
importlib.import_module(sys.argv[1])
before = {*sys.modules}
from dagster._grpc.impl import start_run_in_subprocess
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.process_flag import ProcessFlag

class Queue:
    put = staticmethod(lambda event: None)

def report(*claim):
    open(sys.argv[2], "w").write(" ".join(["claims", *sorted({*sys.modules} - before)]))
    os._exit(0)

ExportRepository.claim = report
start_run_in_subprocess(*pickle.load(sys.stdin.buffer), Queue(), ProcessFlag(multiprocessing.get_context()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux does")
@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1"], ids=["untraced", "traced"])
def test_what_is_imported_beforehand_starts_no_thread(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    command = [sys.executable, "-c", REPORT_THREADS, forking.PRELOADED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["1"], "a process with threads must not be forked"


@pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only")
def test_nothing_is_left_to_be_imported_until_a_run_claims(export: Export, tmp_path: Path) -> None:
    repository = ReconstructableRepository(ModuleCodePointer("vfexport_dagster.definitions", "defs"))
    job = repository.get_reconstructable_job("entries_export")
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="vfexport_dagster.definitions"))
    origin = RemoteRepositoryOrigin(location, "__repository__").get_job_origin("entries_export")
    with dagster.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.create_run_for_job(
            job.get_definition(),
            run_config={"export_id": export.id},
            tags=requested_tags(export, 60),
            status=dagster.DagsterRunStatus.STARTING,
            remote_job_origin=origin,
            job_code_origin=job.get_python_origin(),
        )
        about = ExecuteExternalJobArgs(job_origin=origin, run_id=run.run_id, instance_ref=instance.get_ref())
    told = tmp_path / "told"
    command = [sys.executable, "-c", REPORT_IMPORTS, forking.PRELOADED, str(told)]
    subprocess.run(command, input=pickle.dumps((serialize_value(about), job)), timeout=100, check=True)
    assert told.read_text() == "claims", "each run would load these"


def report(answers: Any, told: Any) -> None:
    """Answer as a process in which a code server would run an export."""
    answers.put((told.wait(30), forking.PRELOADED in sys.modules))
    sys.exit(7)


@pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only")
def test_a_run_is_forked_from_the_process_that_has_imported_everything() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "True", "7"]


@pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only")
def test_a_run_is_forked_after_the_temporary_folder_was_cleaned() -> None:
    """As systemd-tmpfiles does with what is ten days old: the fork server's socket is gone."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, "cleaned"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["True", "True", "7"]


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Be a code server that would fork its runs; tells when it would."""
    asked: list[str] = []
    monkeypatch.setattr(sys, "argv", ["dagster", "api", "grpc", "--port", "1"])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(forking, "fork_runs", lambda: asked.append("forked"))
    return asked


@pytest.mark.parametrize(("value", "expected"), [("true", ["forked"]), ("false", []), ("0", [])])
def test_a_setting_switches_it_off(
    value: str, expected: list[str], forked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFEXPORT_FORKED_RUNS", value)
    forking.fork_runs_if_wanted()
    assert forked == expected


def test_with_an_unknown_dagster_runs_start_cold(
    forked: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dagster, "__version__", "1.14.0")
    forking.fork_runs_if_wanted()
    assert forked == []
    assert "VFEXPORT_FORKED_RUNS is off" in caplog.text


def test_this_dagster_starts_runs_as_is_relied_on() -> None:
    """When an upgrade makes this fail, look whether `forking` still does what it says, then name the version."""
    assert dagster.__version__.startswith(KNOWN_VERSIONS)
    server = inspect.getsource(dagster._grpc.server)
    assert 'multiprocessing.get_context("spawn")' in server
    for needed in ("_mp_ctx.Process(", "_mp_ctx.Event(", "_mp_ctx.Queue("):
        assert needed in server


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["dagster", "api", "grpc", "--port", "1"], sys.platform == "linux"),
        (["dagster", "api", "execute_run"], False),
        (["dagster", "code-server", "start"], False),
        (["pytest"], False),
    ],
)
def test_only_a_code_server_forks_runs(arguments: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    assert forking.is_code_server() is expected


def test_a_flag_stays_set_for_everybody() -> None:
    event = ProcessFlag(SPAWNING)
    assert not event.is_set()
    assert not event.wait(0.01)
    event.set()
    event.set()
    assert event.is_set()
    assert event.wait()
    assert event.wait(60)


def wait_for(event: ProcessFlag, ready: Any) -> None:
    ready.release()
    event.wait()


@pytest.mark.parametrize("end", [signal.SIGSTOP, signal.SIGKILL])
def test_a_flag_waits_for_no_process_that_is_stopped_or_gone(end: signal.Signals) -> None:
    event, ready = ProcessFlag(SPAWNING), SPAWNING.Semaphore(0)
    process = SPAWNING.Process(target=wait_for, args=(event, ready))
    process.start()
    assert ready.acquire(timeout=60)
    time.sleep(0.2)  # it waits by now; if not yet, the test asks less, and does not fail
    assert process.pid
    os.kill(process.pid, end)
    event.set()
    assert event.is_set()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
