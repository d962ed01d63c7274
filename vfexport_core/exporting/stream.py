"""The rows of one export as blocks of CSV: scan, look-ups, rendering, one batch behind the other."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vfexport_core.catalog.contact import ADDITIONAL_MARKETS, OWN_MARKET, USER_ID
from vfexport_core.catalog.spec import Root
from vfexport_core.errors import NoMarketsFound
from vfexport_core.files.csv import csv_lines, header_line, lines_bytes
from vfexport_core.rows.cells import cells_of_chunks
from vfexport_core.rows.expand import expand_markets
from vfexport_core.rows.frame import Frame, count_unmatched, index_by_key, key_texts
from vfexport_core.rows.markets import Markets
from vfexport_core.rows.render import Renderer, fields_of, resolve_columns
from vfexport_core.rows.values import text_of
from vfexport_core.sources.batch import Batch, Tally
from vfexport_core.sources.campaigns import find_markets
from vfexport_core.sources.decode import Decoder
from vfexport_core.sources.lookup import UserLookup
from vfexport_core.sources.prefetch import Prefetch
from vfexport_core.sources.scan import BATCH_DOCUMENTS, entry_range, scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future

    import pyarrow as pa
    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec, Field
    from vfexport_core.settings import Settings
    from vfexport_core.sources.client import Document

# How many batches may wait for their look-ups while the one before them is rendered.
_LOOKUPS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes of the file, with the totals so far: documents read from the source and rows written."""

    data: bytes
    read: int
    rows: int


@dataclass(slots=True)
class _Awaited:
    """A batch of entries whose users are being read."""

    entries: Batch
    user_keys: pa.Array
    users: list[Future[list[bytes]]]


class EntryRows:
    """The rows of an entry-based export of one campaign, in the order of ``_id``.

    `read`, `rows` and `warnings` are final when `blocks` has ended.
    """

    def __init__(
        self,
        spec: ExportSpec,
        campaign: Mapping[str, Any],
        database: Database[Document],
        settings: Settings,
        *,
        include_all_markets: bool = False,
        batch_documents: int = BATCH_DOCUMENTS,
    ) -> None:
        """Read what is small (markets); raises NoMarketsFound for a type that needs one, SourceUnavailable."""
        self.read = 0
        self.rows = 0
        self.warnings = Tally()
        self.skipped = Tally()
        self._database = database
        self._settings = settings
        self._campaign_id = text_of(campaign["_id"])
        self._batch_documents = batch_documents
        self._all_markets = include_all_markets and spec.per_market
        self._markets = Markets(_markets_of(spec, database, self._campaign_id))
        self.columns = resolve_columns(spec, campaign)
        self._renderer = Renderer(
            self.columns,
            campaign=campaign,
            markets=self._markets,
            formula_guard=spec.for_people and settings.formula_guard,
        )

    def blocks(self) -> Iterator[Block]:
        """Yield the file: first its header, then its rows. Raises SourceUnavailable when MongoDB fails for good."""
        yield Block(header_line(column.header for column in self.columns), 0, 0)
        stop = threading.Event()
        decoder = Decoder(self._entry_fields())
        selection = entry_range(self._database, self._campaign_id)
        batches = scan(self._database["entries"], selection, decoder.names, stop, self._batch_documents)
        lookup = UserLookup(
            self._database["users"],
            fields_of(self.columns, Root.USER),
            lookup_batch=self._settings.lookup_batch,
            stop=stop,
        )
        awaited: deque[_Awaited] = deque()
        with closing(lookup), Prefetch(batches, stop) as raw_batches:
            for raw in raw_batches:
                entries = decoder.decode(raw)
                keys = key_texts(cells_of_chunks(entries.columns[USER_ID]))
                awaited.append(_Awaited(entries, keys, lookup.submit(keys.to_pylist())))
                if len(awaited) > _LOOKUPS_AHEAD:
                    yield self._block(awaited.popleft(), lookup)
            while awaited:
                yield self._block(awaited.popleft(), lookup)
        self.warnings.add("invalidUtf8", self._renderer.repaired_cells)

    def _entry_fields(self) -> tuple[Field, ...]:
        needed = dict.fromkeys((USER_ID, OWN_MARKET, *fields_of(self.columns, Root.ENTRY)))
        if self._all_markets:
            needed[ADDITIONAL_MARKETS] = None
        return tuple(needed)

    def _block(self, awaited: _Awaited, lookup: UserLookup) -> Block:
        frame = self._frame(awaited, lookup.gather(awaited.users))
        lines = csv_lines(self._renderer.render(frame), frame.rows)
        self.read += awaited.entries.size
        self.rows += frame.rows
        return Block(lines_bytes(lines), self.read, self.rows)

    def _frame(self, awaited: _Awaited, users: Batch) -> Frame:
        entries = awaited.entries
        found = cells_of_chunks(users.columns[UserLookup.KEY])
        user_index = index_by_key(awaited.user_keys, found)
        own_keys = cells_of_chunks(entries.columns[OWN_MARKET])
        market_index = self._markets.index_of(own_keys.text)
        self.warnings.add("unknownUser", count_unmatched(awaited.user_keys, user_index))
        self.warnings.add("unknownMarket", count_unmatched(own_keys.text, market_index))
        documents = None
        if self._all_markets:
            additional = entries.columns[ADDITIONAL_MARKETS]
            documents, market_index, unknown = expand_markets(market_index, additional, self._markets)
            self.warnings.add("unknownAdditionalMarket", unknown)
        return Frame(entries, users, user_index, self._markets, market_index, documents)


def open_rows(
    spec: ExportSpec,
    campaign: Mapping[str, Any],
    database: Database[Document],
    settings: Settings,
    *,
    include_all_markets: bool = False,
) -> EntryRows:
    """Give the rows of one export type of one campaign; raises as the rows' own class does."""
    return EntryRows(spec, campaign, database, settings, include_all_markets=include_all_markets)


def _markets_of(spec: ExportSpec, database: Database[Document], campaign_id: str) -> list[Document]:
    markets = find_markets(database, campaign_id)
    if spec.needs_markets and not markets:
        raise NoMarketsFound(f"campaign {campaign_id} has no market", payload=campaign_id)
    return markets
