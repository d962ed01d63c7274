"""Exports whose batches come when a test lets them go, so that it knows which process has which."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.api_client import wait_for
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.processes.pool import ProcessPool
from vfexport_core.pipeline.processes.remote import SCRIPT
from vfexport_core.pipeline.stages import scan, transform
from vfexport_core.rows.row_counters import RowCounters
from vfexport_core.rows.texts import text_bytes
from vfexport_core.sources.prefetch import Prefetch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from pymongo.database import Database

    from vfexport_core.files.grouping import EncodedBatch
    from vfexport_core.pipeline.export_plan import ExportPlan
    from vfexport_core.pipeline.processes.remote import FormatProcess
    from vfexport_core.settings import Settings

READY_SECONDS = 120.0
SILENCE_SECONDS = 5.0

Content = list[tuple[list[tuple[Any, bytes]], RowCounters]]


def content(batches: Iterable[EncodedBatch]) -> Content:
    return [([(group.key, text_bytes(group.rows)) for group in batch.groups], batch.counters) for batch in batches]


def alone(plan: ExportPlan, raw: Iterable[bytes], database: Database[Any]) -> Content:
    """Return what the batches become in one process."""
    with closing(transform(plan, raw, database, threading.Event())) as batches:
        return content(batches)


def raw_batches(plan: ExportPlan, database: Database[Any]) -> list[bytes]:
    return list(scan(plan, database, threading.Event()))


def from_the_first(settings: Settings, processes: int) -> Settings:
    """Return settings by which so many processes are started for an export of any size."""
    return settings.model_copy(update={"format_processes": processes, "format_processes_from": 0})


def helpers_of(pid: int) -> list[int]:
    """Return the format processes of a run."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children = map(int, (task / "children").read_text().split())
        found += [child for child in children if SCRIPT.encode() in Path(f"/proc/{child}/cmdline").read_bytes()]
    return found


def is_serving(pid: int) -> bool:
    """Return whether a format process has begun to receive: it has threads of its own for that."""
    return len(list(Path(f"/proc/{pid}/task").iterdir())) > 2


def is_there(pid: int) -> bool:
    """Return whether a process has not ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Gate:
    """Raw batches that the scan gives when they are let go."""

    def __init__(self, raw: list[bytes]) -> None:
        self._raw = raw
        self._gone = threading.Semaphore(0)
        self._stop = threading.Event()

    def let_go(self, count: int) -> None:
        for _ in range(count):
            self._gone.release()

    def open(self) -> None:
        self.let_go(len(self._raw))

    def __iter__(self) -> Iterator[bytes]:
        for raw in self._raw:
            self._gone.acquire()
            yield raw


@dataclass
class Helped:
    """An export of which this process has done the first batch, and another one waits for more."""

    gate: Gate
    pool: ProcessPool
    batches: Generator[EncodedBatch]
    first: EncodedBatch

    @property
    def other(self) -> FormatProcess:
        (process,) = self.pool.others
        return process

    @property
    def pid(self) -> int:
        assert self.other.pid is not None
        return self.other.pid

    def have_done(self, count: int) -> None:
        """Have the other processes do so many batches more."""
        wanted = self._done + count
        self.gate.let_go(count)
        wait_for(lambda: self._done >= wanted, READY_SECONDS)
        assert self._done == wanted

    @property
    def _done(self) -> int:
        return sum(process.done for process in self.pool.others)

    def have_taken(self, number: int) -> None:
        """Have the other process take this batch and stand still before it has done it."""
        os.kill(self.pid, signal.SIGSTOP)
        self.gate.let_go(1)
        wait_for(lambda: number in self.pool.dispatcher.out, READY_SECONDS)

    def rest(self) -> Content:
        """Let go of all batches, and return what all of them became."""
        self.gate.open()
        return content([self.first, *self.batches])


@contextmanager
def helped(
    plan: ExportPlan,
    raw: list[bytes],
    database: Database[Any],
    *,
    others: int = 1,
    wait: bool = True,
    silence_seconds: float = SILENCE_SECONDS,
) -> Generator[Helped]:
    """Begin an export of these batches with other processes beside this one; leaving the block ends them.

    With `wait` they are ready, and wait for batches.
    """
    gate, stop = Gate(raw), threading.Event()
    with Prefetch(gate, stop) as ahead:
        pool = ProcessPool(
            plan, ahead, database, stop, count=1 + others, expected=None, silence_seconds=silence_seconds
        )
        with closing(pool.batches()) as batches:
            try:
                gate.let_go(1)
                export = Helped(gate, pool, batches, next(batches))
                if wait:
                    wait_for(lambda: all(process.ready.is_set() for process in pool.others), READY_SECONDS)
                yield export
            finally:
                gate.open()


class HelpedPipeline(ExportPipeline):
    """An export of which other processes do all batches but the first."""

    others = 1
    helped = 0
    """The batches that other processes have done."""

    def batches(self) -> Generator[EncodedBatch]:
        raw = raw_batches(self.plan, self._database)
        with helped(self.plan, raw, self._database, others=self.others) as export:
            export.have_done(len(raw) - 1)
            self.helped = len(raw) - 1
            export.gate.open()
            for batch in (export.first, *export.batches):
                self.counters.merge(batch.counters)
                yield batch


class MoreHelpedPipeline(HelpedPipeline):
    others = 2
