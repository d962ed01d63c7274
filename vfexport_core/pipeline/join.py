"""The join: scanned documents and those that belong to them, looked up by the batch and ahead of the stages behind."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.rows.cells import cells_of_columns
from vfexport_core.rows.comparable_ids import index_by_key, key_texts
from vfexport_core.rows.frame import Frame, Related
from vfexport_core.sources.lookup import BatchedLookup, LookupTarget
from vfexport_core.sources.ranges import range_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterable, Iterator
    from concurrent.futures import Future

    import pyarrow as pa
    from pymongo.database import Database

    from vfexport_core.catalog.collections import Collection
    from vfexport_core.catalog.spec import Lookup
    from vfexport_core.mongo.document import Document
    from vfexport_core.pipeline.export_plan import ExportPlan
    from vfexport_core.sources.batch import Batch

# How many batches, and bytes of them, may wait for their look-ups while the one before them is rendered: at 20 ms a
# batch an answer that takes 50 ms is there in time.
_BATCHES_AHEAD = 3
_AHEAD_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class _Pending:
    """A look-up under way: `keys` has one string per scanned document (null: it names nobody)."""

    keys: pa.StringArray
    futures: list[Future[list[bytes]]]


@contextmanager
def open_lookups(
    plan: ExportPlan, database: Database[Document], stop: threading.Event
) -> Generator[list[BatchedLookup]]:
    """Open the look-ups of an export, in the order of their declaration; leaving the block sets `stop` and ends them.

    Raises SourceMissing when a collection does not exist, SourceUnavailable when MongoDB fails.
    """
    with ExitStack() as stack:
        lookups = [stack.enter_context(closing(_open(plan, lookup, database, stop))) for lookup in plan.spec.lookups]
        stack.callback(stop.set)  # first, so that none goes on waiting for a retry
        yield lookups


def join(plan: ExportPlan, batches: Iterable[Batch | None], lookups: list[BatchedLookup]) -> Iterator[Frame]:
    """Yield a frame for each batch, in their order: the batch's documents as rows, with what belongs to them.

    A batch is held back while those behind it are begun. None among the batches says that there is none just now: then
    the first that is held back is yielded.
    """
    waiting: deque[tuple[Batch, list[_Pending]]] = deque()
    for batch in batches:
        if batch is not None:
            waiting.append((batch, _begin(plan, batch, lookups)))
        if waiting and (batch is None or _are_enough(waiting)):
            yield _frame(plan, *waiting.popleft(), lookups)
    while waiting:
        yield _frame(plan, *waiting.popleft(), lookups)


def _are_enough(waiting: deque[tuple[Batch, list[_Pending]]]) -> bool:
    return len(waiting) > _BATCHES_AHEAD or sum(batch.source_bytes for batch, _ in waiting) > _AHEAD_BYTES


def _open(plan: ExportPlan, lookup: Lookup, database: Database[Document], stop: threading.Event) -> BatchedLookup:
    collection = lookup.collection
    part = range_of(database, collection, plan.reference.campaign_id) if collection.lookup.per_campaign else None
    return BatchedLookup(
        database,
        LookupTarget(collection, part, plan.condition(lookup.where)),
        plan.fields(collection),
        lookup_batch=plan.settings.lookup_batch or plan.batch_documents,
        stop=stop,
    )


def _begin(plan: ExportPlan, batch: Batch, lookups: list[BatchedLookup]) -> list[_Pending]:
    pending: list[_Pending] = []
    for declared, lookup in zip(plan.spec.lookups, lookups, strict=True):
        cells = cells_of_columns(batch.columns[declared.key])
        keys = key_texts(cells)
        # As the id is written, too: hex in upper case is the same id, and likely written so on both sides.
        forms = (keys,) if keys.equals(cells.text) else (keys, cells.text)
        pending.append(_Pending(keys, lookup.submit(*forms)))
    return pending


def _frame(plan: ExportPlan, batch: Batch, pending: list[_Pending], lookups: list[BatchedLookup]) -> Frame:
    related: dict[Collection, Related] = {}
    for declared, lookup, begun in zip(plan.spec.lookups, lookups, pending, strict=True):
        found = lookup.gather(begun.futures)
        index = index_by_key(begun.keys, key_texts(cells_of_columns(found.columns[lookup.key])))
        related[declared.collection] = Related(found, index)
    return Frame(plan.spec.scan.collection, batch, related, plan.reference.markets)
