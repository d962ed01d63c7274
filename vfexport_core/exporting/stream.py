"""The rows of one export as lines of CSV: scan, look-ups, selection, rendering, one batch behind the other."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vfexport_core.catalog.contact import ADDITIONAL_MARKETS, EMAIL, PROMOTER_OPT_INS
from vfexport_core.catalog.reminders import CODES_HELD, COUNTRY_CODE, SFMC_LOCALE
from vfexport_core.catalog.spec import Expansion
from vfexport_core.exporting.surroundings import Surroundings
from vfexport_core.files.csv import csv_lines
from vfexport_core.rows.cells import cells_of_chunks
from vfexport_core.rows.evaluate import expressions_of, fields_of
from vfexport_core.rows.frame import Frame, Related
from vfexport_core.rows.keys import index_by_key, key_texts
from vfexport_core.rows.reminders import artist_name
from vfexport_core.rows.render import Renderer, resolve_columns
from vfexport_core.rows.select import RowSelection
from vfexport_core.sources.conditions import condition_expression
from vfexport_core.sources.decode import Decoder
from vfexport_core.sources.lookup import BatchedLookup, LookupTarget
from vfexport_core.sources.prefetch import Prefetch
from vfexport_core.sources.ranges import range_of
from vfexport_core.sources.scan import BATCH_DOCUMENTS, scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    from pymongo.database import Database

    from vfexport_core.catalog.collections import Collection
    from vfexport_core.catalog.expressions import Expression, Field
    from vfexport_core.catalog.spec import ExportSpec, Lookup
    from vfexport_core.ccpa.exclusion import SuppressionList
    from vfexport_core.settings import Settings
    from vfexport_core.sources.batch import Batch
    from vfexport_core.sources.client import Document

# How many batches may wait for their look-ups while the one before them is rendered.
_LOOKUPS_AHEAD = 2
_RULES = (EMAIL, COUNTRY_CODE, SFMC_LOCALE)


@dataclass(frozen=True, slots=True)
class Lines:
    """The rows of one batch, one line each, with the totals so far: documents read and rows made.

    `frame` has the rows' cells; `promoter`, for an export by promoter, is each row's place in the campaign's list.
    """

    text: pa.Array
    frame: Frame
    promoter: npt.NDArray[np.int64] | None
    read: int
    rows: int


@dataclass(slots=True)
class _Awaited:
    """A batch of documents whose look-ups are under way: per look-up the keys and what was begun."""

    documents: Batch
    begun: list[tuple[pa.Array, list[Future[list[bytes]]]]]


class RowStream:
    """The rows of one export of one campaign, in the order of the scanned documents' ``_id``.

    `read`, `rows`, `warnings` and `skipped` are final when `lines` has ended.
    """

    def __init__(
        self,
        spec: ExportSpec,
        campaign: Mapping[str, Any],
        database: Database[Document],
        settings: Settings,
        *,
        include_all_markets: bool = False,
        date_key: str | None = None,
        batch_documents: int = BATCH_DOCUMENTS,
        left_out: SuppressionList | None = None,
    ) -> None:
        """Read what is small (markets, promoters); raises NoMarketsFound, PromotersNotFound, SourceUnavailable."""
        self.spec = spec
        self.read = 0
        self.rows = 0
        self.surroundings = Surroundings.load(spec, campaign, database, settings)
        self.columns = resolve_columns(spec, campaign)
        self._campaign = campaign
        self._database = database
        self.settings = settings
        self._date_key = date_key
        self._batch_documents = batch_documents
        self._selection = RowSelection(
            spec,
            self.surroundings.rules,
            include_all_markets,
            settings.sample_rows,
            self.surroundings.promoter_keys,
            self.surroundings.excluded,
            None if left_out is None else left_out.named_by,
        )
        self._person = spec.scan.collection.personal_fields if left_out is not None else ()
        self.warnings = self._selection.warnings
        self.skipped = self._selection.skipped
        self._renderer = Renderer(
            self.columns,
            campaign=campaign,
            markets=self.surroundings.markets,
            rules=self.surroundings.rules,
            formula_guard=spec.for_people and settings.formula_guard,
        )

    @property
    def artist(self) -> str:
        """The artist's name as the reminders write it."""
        return artist_name(self._campaign)[0] or ""

    def meta(self) -> dict[str, Any]:
        """Give the figures that the export document keeps as ``meta``."""
        meta = {"read": self.read, "warnings": dict(self.warnings.counts), "skipped": dict(self.skipped.counts)}
        left_out = self._selection.left_out_documents
        return meta | ({"ccpaExcluded": left_out} if left_out else {})

    def lines(self) -> Iterator[Lines]:
        """Yield the rows, batch by batch. Raises SourceUnavailable when MongoDB fails for good."""
        stop = threading.Event()
        collection = self.spec.scan.collection
        decoder = Decoder(self._fields(collection, include=(*self._scanned_fields(), *self._person)))
        batches = scan(
            self._database[collection.spec.name],
            range_of(self._database, collection, self.surroundings.campaign_id),
            decoder.names,
            stop,
            where=self._condition(self.spec.scan.where),
            batch_documents=self._batch_documents,
        )
        awaited: deque[_Awaited] = deque()
        with ExitStack() as stack:
            lookups = [stack.enter_context(closing(self._lookup(item, stop))) for item in self.spec.lookups]
            for raw in stack.enter_context(Prefetch(batches, stop)):
                awaited.append(self._begin(decoder.decode(raw), lookups))
                if len(awaited) > _LOOKUPS_AHEAD:
                    yield self._lines(awaited.popleft(), lookups)
            while awaited:
                yield self._lines(awaited.popleft(), lookups)
        self.warnings.add("invalidUtf8", self._renderer.repaired_cells)

    def _expressions(self) -> tuple[Expression, ...]:
        """List everything that is evaluated, be it for a column or for the selection of rows."""
        spec = self.spec
        needed = [*expressions_of(self.columns), *(lookup.key for lookup in spec.lookups)]
        needed += [item for item in (spec.market, spec.required, spec.not_in_scheduled_wave) if item is not None]
        if spec.expansion is Expansion.HELD_CODES:
            needed += _RULES
        return tuple(needed)

    def _fields(self, collection: Collection, include: tuple[Field, ...] = ()) -> tuple[Field, ...]:
        return tuple(dict.fromkeys((*fields_of(self._expressions(), collection), *include)))

    def _scanned_fields(self) -> tuple[Field, ...]:
        """List what an expansion needs of the scanned document beside the columns."""
        match self.spec.expansion:
            case Expansion.MARKETS_IF_ASKED:
                return (ADDITIONAL_MARKETS,) if self._selection.include_all_markets else ()
            case Expansion.HELD_CODES:
                return (CODES_HELD,)
            case Expansion.PROMOTERS:
                return (PROMOTER_OPT_INS,)
            case None:
                return ()

    def _condition(self, condition: Any) -> Any:
        return None if condition is None else condition_expression(condition, self._date_key)

    def _lookup(self, lookup: Lookup, stop: threading.Event) -> BatchedLookup:
        campaign_id = self.surroundings.campaign_id
        per_campaign = lookup.collection.lookup.per_campaign
        selection = range_of(self._database, lookup.collection, campaign_id) if per_campaign else None
        return BatchedLookup(
            self._database,
            LookupTarget(lookup.collection, selection, self._condition(lookup.where)),
            self._fields(lookup.collection),
            lookup_batch=self.settings.lookup_batch,
            stop=stop,
        )

    def _begin(self, documents: Batch, lookups: list[BatchedLookup]) -> _Awaited:
        begun: list[tuple[pa.Array, list[Future[list[bytes]]]]] = []
        for declared, lookup in zip(self.spec.lookups, lookups, strict=True):
            cells = cells_of_chunks(documents.columns[declared.key])
            keys = key_texts(cells)
            # As the id is written, too: hex in upper case is the same id, and likely written so on both sides.
            begun.append((keys, lookup.submit(*((keys,) if keys.equals(cells.text) else (keys, cells.text)))))
        return _Awaited(documents, begun)

    def _lines(self, awaited: _Awaited, lookups: list[BatchedLookup]) -> Lines:
        related: dict[Collection, Related] = {}
        for declared, lookup, (keys, futures) in zip(self.spec.lookups, lookups, awaited.begun, strict=True):
            found = lookup.gather(futures)
            index = index_by_key(keys, key_texts(cells_of_chunks(found.columns[lookup.key])))
            related[declared.collection] = Related(found, index)
        frame = Frame(self.spec.scan.collection, awaited.documents, related, self.surroundings.markets)
        promoter = self._selection.apply(frame)
        text = csv_lines(self._renderer.render(frame), frame.rows)
        self.read += awaited.documents.size
        self.rows += frame.rows
        return Lines(text, frame, promoter, self.read, self.rows)
