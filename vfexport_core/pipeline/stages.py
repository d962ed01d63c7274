"""The stages of an export, each a generator over the one before it.

::

    scan -> decode -> join -> select -> sample -> render -> encode

`scan` yields raw batches. `transform` is all the rest: one `EncodedBatch` for each raw batch, in their order. It needs
nothing but the plan and a database, keeps nothing that a later batch could depend on (unless there is a sample, see
`is_ordered`), and what it yields refers to nothing else. So raw batches of one scan can be transformed by several
processes, each with every n-th of them; put in order again, the batches are the same, and their counters add up.

What depends on the order of rows otherwise, which file a row goes to, is decided behind it (files.grouping).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from vfexport_core.catalog.spec import Sample
from vfexport_core.files.grouping import EncodedBatch, split
from vfexport_core.pipeline.join import join, open_lookups
from vfexport_core.rows.render import Renderer
from vfexport_core.rows.sample import Sampler
from vfexport_core.rows.select import RowSelection
from vfexport_core.rows.warnings import count_warnings
from vfexport_core.sources.decode import Decoder
from vfexport_core.sources.projection import short_names
from vfexport_core.sources.ranges import range_of
from vfexport_core.sources.reply_size import ReplySize
from vfexport_core.sources.scan import REPLY_BATCHES
from vfexport_core.sources.scan import scan as scan_range

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterable, Iterator

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.pipeline.export_plan import ExportPlan
    from vfexport_core.rows.frame import Frame
    from vfexport_core.rows.render import TextColumn
    from vfexport_core.sources.batch import Batch


@dataclass(frozen=True, slots=True)
class RenderedRows:
    """The rows of one batch as text: a column for each of the plan's, and the frame that they were rendered from."""

    columns: list[TextColumn]
    frame: Frame


def is_ordered(plan: ExportPlan) -> bool:
    """Return whether one `transform` has to see all batches, in the order of the scan."""
    return plan.spec.shape.sample is not None


def scan(
    plan: ExportPlan, database: Database[Document], stop: threading.Event, reply_size: ReplySize | None = None
) -> Iterator[bytes]:
    """Return the raw batches: flat documents with the plan's scanned fields, by ``_id``. Setting `stop` ends retries.

    A `reply_size` (see `first_reply_size`) may grow meanwhile.

    Raises SourceMissing when the collection does not exist, SourceUnavailable when MongoDB fails for good.
    """
    collection = plan.spec.scan.collection
    return scan_range(
        database[collection.spec.name],
        range_of(database, collection, plan.reference.campaign_id),
        short_names(plan.scanned_fields()),
        stop,
        where=plan.condition(plan.spec.scan.where),
        batch_documents=plan.batch_documents,
        reply_size=reply_size or first_reply_size(plan),
    )


def first_reply_size(plan: ExportPlan) -> ReplySize:
    """Return how many documents a scan asks for at once, to begin with."""
    fixed = plan.reply_batches
    return ReplySize(plan.batch_documents * (fixed or REPLY_BATCHES), grows=fixed is None)


def transform(
    plan: ExportPlan, raw: Iterable[bytes | None], database: Database[Document], stop: threading.Event
) -> Generator[EncodedBatch]:
    """Yield what each raw batch becomes; `stop` is set in the end. Raises SourceMissing, SourceUnavailable.

    Some batches are held back for their look-ups: None among them says that there is none just now, and has the next
    that was begun yielded.
    """
    with open_lookups(plan, database, stop) as lookups:
        frames = join(plan, decode(plan, raw), lookups)
        yield from encode(plan, render(plan, sample(plan, select(plan, frames))))


def decode(plan: ExportPlan, raw: Iterable[bytes | None]) -> Iterator[Batch | None]:
    """Yield the columns of each raw batch: one per scanned field, with a value per document; None for None."""
    decoder = Decoder(plan.scanned_fields())
    for batch in raw:
        yield None if batch is None else decoder.decode(batch)


def select(plan: ExportPlan, frames: Iterable[Frame]) -> Iterator[Frame]:
    """Choose the rows of each frame: none, one or several per document."""
    reference = plan.reference
    selection = RowSelection(
        spec=plan.spec,
        rules=reference.rules,
        include_all_markets=plan.include_all_markets,
        promoters=reference.promoter_keys,
        wave_members=reference.wave_members,
        suppressed=None if plan.suppression is None else plan.suppression.named_by,
    )
    for frame in frames:
        selection.apply(frame)
        yield frame


def sample(plan: ExportPlan, frames: Iterable[Frame]) -> Iterator[Frame]:
    """Leave each frame the rows of the sample: all of them when the export is no sample."""
    kept = plan.spec.shape.sample
    match kept:
        case None:
            yield from frames
        case Sample.FIRST_PER_LOCALE_AND_MARKET:
            sampler = Sampler(plan.reference.rules, plan.settings.sample_rows)
            for frame in frames:
                sampler.apply(frame)
                yield frame
        case _:
            assert_never(kept)


def render(plan: ExportPlan, frames: Iterable[Frame]) -> Iterator[RenderedRows]:
    """Yield the text of each frame's rows, and count in the frame what did not conform in them."""
    rules = plan.reference.rules
    renderer = Renderer(
        plan.columns,
        campaign=plan.campaign,
        markets=plan.reference.markets,
        rules=rules,
        formula_guard=plan.formula_guard,
    )
    for frame in frames:
        count_warnings(frame, plan.spec, rules)
        yield RenderedRows(renderer.render(frame), frame)


def encode(plan: ExportPlan, rendered: Iterable[RenderedRows]) -> Iterator[EncodedBatch]:
    """Yield the rows of each batch as the format writes them, by group, with the batch's counters."""
    file_format, rules = plan.open_format(), plan.reference.rules
    for batch in rendered:
        frame = batch.frame
        rows = file_format.rows(batch.columns, frame.rows)
        frame.counters.rows += frame.rows
        people = None if plan.people is None else plan.people.of_frame(frame)
        yield EncodedBatch(split(plan.spec.shape.group_by, rows, frame, rules), frame.counters, people)
