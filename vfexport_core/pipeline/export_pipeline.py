"""The stages put together, in one process or in several: from MongoDB to encoded rows, and from these to files."""

from __future__ import annotations

import gc
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from vfexport_core.catalog.spec import Container
from vfexport_core.files.containers import Layout, write_files
from vfexport_core.mongo.client import open_scanned
from vfexport_core.pipeline.processes.pool import ProcessPool, process_count
from vfexport_core.pipeline.stages import first_reply_size, scan, transform
from vfexport_core.rows.row_counters import RowCounters
from vfexport_core.sources.prefetch import Prefetch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pymongo.database import Database

    from vfexport_core.ccpa.person_keys import Keys
    from vfexport_core.files.containers import FileName
    from vfexport_core.files.grouping import EncodedBatch
    from vfexport_core.mongo.document import Document
    from vfexport_core.pipeline.export_plan import ExportPlan
    from vfexport_core.pipeline.sinks import Sink


class ExportPipeline:
    """One export: its rows are read, and its files written, once. `counters` are those of all batches so far.

    `expected` may be set before that: how many documents will be read, where they were counted.

    `on_people` is told the keys of the people in each batch, before it is written, if the plan makes any.
    """

    def __init__(
        self, plan: ExportPlan, database: Database[Document], on_people: Callable[[Keys], object] | None = None
    ) -> None:
        self.plan = plan
        self.expected: int | None = None
        self._on_people = on_people
        self.counters = RowCounters()
        self.pool: ProcessPool | None = None
        """The processes that transform the batches, while there may be others than this one."""
        self._database = open_scanned(database, plan.settings)

    def batches(self) -> Generator[EncodedBatch]:
        """Yield the encoded rows, batch by batch, in the order of the scan.

        Raises SourceMissing when a collection does not exist, SourceUnavailable when MongoDB fails for good.
        """
        stop, size = threading.Event(), first_reply_size(self.plan)
        with (
            Prefetch(scan(self.plan, self._database, stop, size), stop, on_wait=size.note_wait) as raw,
            closing(self._transform(raw, stop)) as encoded,
        ):
            for batch in encoded:
                self.counters.merge(batch.counters)
                if self._on_people is not None and batch.people is not None:
                    self._on_people(batch.people)
                yield batch

    def _transform(self, raw: Prefetch, stop: threading.Event) -> Generator[EncodedBatch]:
        count = process_count(self.plan)
        if count == 1:
            return transform(self.plan, raw, self._database, stop)
        self.pool = ProcessPool(self.plan, raw, self._database, stop, count=count, expected=self.expected)
        return self.pool.batches()

    def write(self, sink: Sink, on_progress: Callable[[int, int, int], object]) -> dict[FileName, int]:
        """Write the export's files into `sink`, and return them with the rows of each.

        `on_progress` is told the documents read, the rows made and the bytes written so far, after every batch and
        every file. Raises SpoolFull, what `batches` raises and what the sink and `on_progress` do.
        """
        plan, counters = self.plan, self.counters
        layout = Layout(
            container=plan.spec.shape.container if sink.takes_several else _together(plan.spec.shape.container),
            header=plan.open_format().header,
            partition=plan.partition(),
            spool_max_bytes=plan.settings.spool_max_bytes,
        )
        with closing(self.batches()) as batches:
            return write_files(
                batches, layout, sink, lambda: on_progress(counters.read, counters.rows, sink.bytes_written)
            )


def _together(container: Container) -> Container:
    """Return the container for the same files where there is room for one only."""
    return Container.ZIP if container is Container.OBJECTS else container


# What was imported lives as long as the process: the collector need not look at it again.
gc.freeze()
