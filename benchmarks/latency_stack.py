"""What queue_latency.py measures: embedded servers, Dagster's daemon and code location, campaigns; all temporary."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
import psutil

from vfexport_core.catalog import find_spec
from vfexport_core.embedded import embedded_environment, embedded_mongo, embedded_s3
from vfexport_core.embedded.demo.children import Children
from vfexport_core.embedded.demo.dagster import prepare_home, start_code_location, start_daemon
from vfexport_core.embedded.demo.folder import find_checkout
from vfexport_core.embedded.demo.isolation import isolated
from vfexport_core.embedded.process import HOST, free_port
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.mongo.client import opened
from vfexport_core.queue.audit import Actor
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services import exports
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import initialise
from vfexport_core.services.workspace_file import FILE, write_workspace
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pymongo.database import Database

    from vfexport_core.embedded.process import ServerProcess
    from vfexport_core.queue.models import Export

Found = TypeVar("Found")

PATIENCE_SECONDS = 180.0
POLL_SECONDS = 0.005
TYPE = "entries"


def poll(look: Callable[[], Found | None], what: str) -> Found:
    """Look until there is something, and give it; raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE_SECONDS:g} s: {what}")
        time.sleep(POLL_SECONDS)
    return found


@dataclass
class Service:
    """The queue, and the processes that empty it. `brief` and `long` are campaigns by their ids."""

    children: Children
    database: Database[dict[str, Any]]
    store: ExportRepository
    brief: Sequence[str] = ()
    long: str = ""
    _processes: list[ServerProcess] = field(default_factory=list)

    def start(self) -> None:
        port = free_port()
        code = start_code_location(self.children, port)
        workspace = write_workspace(self.children.folder / FILE, HOST, port)
        self._processes = [code, start_daemon(self.children, workspace)]

    def kill(self) -> None:
        """Kill daemon and code location with -9, and nothing else."""
        for process in self._processes:
            process.kill()

    def request(self, campaign_id: str) -> Export:
        request = exports.ExportRequest(
            spec=find_spec(TYPE),
            campaign_id=campaign_id,
            date_key=None,
            include_all_markets=False,
            by=Actor("benchmark", "api", "benchmark"),
        )
        return exports.request(Backend(load_settings(None), database=self.database), request)[0]

    def wait(self, export: Export, when: Callable[[Export], bool], what: str) -> Export:
        """Wait until the export, as it is stored, meets a condition."""

        def look() -> Export | None:
            found = self.store.get(export.id)
            return found if when(found) else None

        return poll(look, f"export {export.id} {what}")

    def finished(self, export: Export) -> Export:
        return self.wait(export, lambda found: found.date.finished is not None, "is FINISHED")

    def in_progress(self, export: Export) -> tuple[Export, int]:
        """Wait until the export is in the middle of its work; gives its run's process as well."""
        found = self.wait(export, lambda found: found.progress is not None and found.progress.read > 0, "reads")
        return found, self.process_of(found.run_id or "")

    def idle(self) -> None:
        """Wait until no export and no run is left."""
        poll(lambda: True if self.store.running() is None and not self.store.pending(1) else None, "an empty queue")
        live = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.QUEUED])
        with dg.DagsterInstance.get() as instance:
            poll(lambda: True if not instance.get_runs(live, limit=1) else None, "no run to be left")

    def process_of(self, run_id: str) -> int:
        with dg.DagsterInstance.get() as instance:
            lines = [entry.message for entry in instance.all_logs(run_id)]
        return next(int(found[1]) for line in lines if (found := re.search(r"process for run \(pid: (\d+)\)", line)))


@contextlib.contextmanager
def running(brief: int, entries: int, long_entries: int, variables: Mapping[str, str]) -> Iterator[Service]:
    """Run everything for the block, with `brief` campaigns of `entries` each; afterwards nothing of it is left.

    `variables` are further ones for the environment of all processes.
    """
    with (
        tempfile.TemporaryDirectory(prefix="vfexport-latency-", ignore_cleanup_errors=True) as name,
        isolated(Path(name)),
        ExitStack() as exits,
    ):
        folder = Path(name)
        children = Children(folder, exits)
        mongo = exits.enter_context(embedded_mongo(folder / "mongo", durable=False, stop_seconds=0))
        s3 = exits.enter_context(embedded_s3(folder / "s3", stop_seconds=0))
        os.environ.update(embedded_environment(mongo, s3) | dict(variables))
        prepare_home(find_checkout(), folder)
        exits.callback(end_what_is_left, folder / "dagster")
        database = exits.enter_context(opened(load_settings(None)))
        store = ExportRepository(database)
        initialise(database)
        service = Service(children, database, store)
        service.brief = [seed_campaign(database, entries=entries, seed=number) for number in range(brief)]
        service.long = seed_campaign(database, entries=long_entries, seed=brief)
        service.start()
        yield service


def end_what_is_left(home: Path) -> None:
    """Kill the processes that were started with this DAGSTER_HOME: runs whose code location was killed."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid != os.getpid() and process.environ().get("DAGSTER_HOME") == str(home):
                process.send_signal(signal.SIGKILL)
