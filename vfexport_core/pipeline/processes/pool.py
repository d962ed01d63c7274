"""One scan, transformed by several processes: the run's own and, when it is worth it, others beside it.

The run's own process begins at once and never stops working: it transforms a batch whenever the one whose turn it is
has not come back. The others are started when the export is known to be large, take batches from when they are ready,
and may be lost at any time. What comes out is the same whoever does what.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING, assert_never

from vfexport_core.files.grouping import encoded_bytes
from vfexport_core.pipeline.processes.cpus import usable_cpus
from vfexport_core.pipeline.processes.dispatch import Dispatcher, Numbered, Step
from vfexport_core.pipeline.processes.remote import SILENCE_SECONDS, FormatProcess
from vfexport_core.pipeline.stages import is_ordered, transform

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator

    from pymongo.database import Database

    from vfexport_core.files.grouping import EncodedBatch
    from vfexport_core.mongo.document import Document
    from vfexport_core.pipeline.export_plan import ExportPlan
    from vfexport_core.sources.prefetch import Prefetch

MOST_PROCESSES = 8
KEPT_BYTES = 8 * 2**20
"""What may wait, per process: raw batches that are out, and rows before their turn."""


def process_count(plan: ExportPlan) -> int:
    """Return how many processes may transform batches of an export, with the run's own."""
    if is_ordered(plan):
        return 1
    return plan.settings.format_processes or min(usable_cpus(), MOST_PROCESSES)


class ProcessPool:
    """The processes of one export. `expected` is how many documents it has, if that is known.

    Iterating yields the encoded batches in the order of the scan; raises what `transform` and the scan do.
    """

    def __init__(
        self,
        plan: ExportPlan,
        raw: Prefetch,
        database: Database[Document],
        stop: threading.Event,
        *,
        count: int,
        expected: int | None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.others: list[FormatProcess] = []
        self._plan = plan
        self._database = database
        self._stop = stop
        self._count = count
        self._expected = expected
        self._silence_seconds = silence_seconds
        self.dispatcher = Dispatcher(raw, count * KEPT_BYTES)
        self._given: Numbered | None = None
        self._own: deque[int] = deque()
        self._read = 0

    def batches(self) -> Generator[EncodedBatch]:
        try:
            with closing(transform(self._plan, self._own_batches(), self._database, self._stop)) as own:
                yield from self._in_order(own)
        finally:
            self.dispatcher.close()
            for process in self.others:
                process.close()

    def _in_order(self, own: Iterator[EncodedBatch]) -> Iterator[EncodedBatch]:
        while True:
            self._start_if_worth_it()
            step = self.dispatcher.next_step(busy=bool(self._own))
            match step:
                case Step.END:
                    return
                case Step.YIELD:
                    batch = self.dispatcher.pop()
                    self._read += batch.counters.read
                    yield batch
                case Step.GO_ON:
                    self._transform(own)
                case Numbered():
                    self._given = step
                    self._transform(own)
                case _:
                    assert_never(step)

    def _transform(self, own: Iterator[EncodedBatch]) -> None:
        batch = next(own)
        self.dispatcher.put(self._own.popleft(), batch, encoded_bytes(batch))

    def _own_batches(self) -> Iterator[bytes | None]:
        while True:
            item, self._given = self._given or self.dispatcher.take_own(), None
            if item is None:
                yield None
            else:
                self._own.append(item.number)
                yield item.raw

    def _start_if_worth_it(self) -> None:
        """Start the other processes once as many documents are known of as pay for that."""
        known = self._read if self._expected is None else max(self._read, self._expected)
        if self.others or known < self._plan.settings.format_processes_from:
            return
        self.others = [
            FormatProcess(self._plan, self.dispatcher, self._silence_seconds) for _ in range(self._count - 1)
        ]
        for process in self.others:
            process.start()
