"""What a scenario does: ask for exports, hold a run in the middle, press buttons, and have everything checked."""

from __future__ import annotations

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from tests.api_client import WaitedInVain, wait_for
from tests.e2e.stack import WebServer
from tests.integration.queue_helpers import new_export
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

    from tests.faults.checker import Checker
    from tests.faults.dagster.service import ScanGate, Service
    from tests.s3_proxy import S3Proxy
    from vfexport_core.queue.models import Export

SECONDS = 150
REACHED_SECONDS = 60


@dataclass(frozen=True)
class Held:
    """A run that is in the middle of its export, and its process."""

    export_id: str
    run_id: str
    pid: int


@dataclass
class Scene:
    """See the module; `campaigns` are those to ask for exports of."""

    client: httpx.Client
    service: Service
    checker: Checker
    campaigns: Sequence[str]
    gate: ScanGate
    s3: S3Proxy
    acknowledged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = self.checker.store
        self.checker.run_next = self.export
        self.checker.staying = self.service.staying
        self.checker.beyond.append(self.service.assert_no_run_is_left)

    @property
    def ui(self) -> WebServer:
        """Where people press buttons."""
        self.service.serve_ui()
        return WebServer(self.client)

    def ask(self, export_type: str = "entries", campaign: int = 0) -> str:
        """Request an export as the API does; gives its id."""
        return self._request(self.campaigns[campaign], export_type)

    def export(self, campaign_id: str) -> str:
        """Have the entries of a campaign exported; gives the export's id."""
        export_id = self._request(campaign_id, "entries")
        self.wait(export_id, ExportStatus.FINISHED)
        return export_id

    def hold(self, export_type: str = "entries") -> Held:
        """Request an export and hold its run in mid-scan."""
        self.gate.close()
        export_id = self.ask(export_type)
        run_id = self.wait(export_id, ExportStatus.TRIGGERED).run_id or ""
        assert self.gate.arrived.wait(SECONDS), "nothing is read"
        return Held(export_id, run_id, self.service.process_of(run_id))

    def let_go(self) -> None:
        self.gate.open()
        self.s3.heal()

    def wait(self, export_id: str, *statuses: ExportStatus, attempt: int = 1) -> Export:
        """Wait until an attempt of an export has one of these statuses."""

        def look() -> Export | None:
            export = self.store.get(export_id)
            return export if export.status in statuses and export.attempt == attempt else None

        try:
            return wait_for(look, SECONDS)
        except WaitedInVain:
            raise WaitedInVain(f"not {statuses}: {self.store.get(export_id)}") from None

    def run_of(self, export_id: str, *statuses: str) -> str:
        """Wait until the latest run of an export has one of these statuses of Dagster; gives its id."""

        def look() -> str | None:
            run = self.service.latest_run(export_id)
            return run.run_id if run is not None and run.status.value in statuses else None

        return wait_for(look, SECONDS)

    def wait_for_run(self, run_id: str, *statuses: str) -> str:
        def look() -> str | None:
            run = self.service.instance.get_run_by_id(run_id)
            return run.status.value if run is not None and run.status.value in statuses else None

        return wait_for(look, SECONDS)

    def check(self, *, next_one: str | None = None) -> None:
        """Have everything checked that must be true after every scenario.

        `next_one` is an export that had not begun when the fault was over, where there is one.
        """
        self.let_go()
        self.checker.assert_all_well(list(self.acknowledged), next_one=next_one)

    def _request(self, campaign_id: str, export_type: str) -> str:
        export, created = self.store.request(new_export(campaign_id=campaign_id, export_type=export_type))
        assert created, "nothing is left of the scenario before"
        self.acknowledged.append(export.id)
        return export.id


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal; for SIGKILL, wait until the process is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    if number is signal.SIGKILL:
        wait_for_gone(pid)


def wait_for_gone(pid: int) -> None:
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, SECONDS)


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Do all of them at the same time; gives what each gave."""
    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result() for future in [pool.submit(action) for action in actions]]
