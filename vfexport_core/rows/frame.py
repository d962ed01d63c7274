"""One batch of rows: the scanned documents and what belongs to them, addressed by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vfexport_core.catalog.collections import Collection
from vfexport_core.rows.cells import Cells, cells_of_columns, missing
from vfexport_core.rows.row_counters import RowCounters

if TYPE_CHECKING:
    from vfexport_core.catalog.collections import Field
    from vfexport_core.rows.markets import Markets
    from vfexport_core.sources.batch import Batch


@dataclass(frozen=True, slots=True)
class Related:
    """Documents that were looked up.

    `index` (int64, one per scanned document) points to the one in `batch` that belongs to it, null for none.
    """

    batch: Batch
    index: pa.Int64Array


class Frame:
    """Rows to be rendered, made from scanned documents.

    At first every document is one row; `choose_rows` leaves documents out or gives them several rows. `market_index`
    (int64, one per row) points from row to market, null for none; `promoter_index` (int64, one per row), of an export
    by promoter, to the promoter's place in the campaign's list; `held` are cells that belong to rows rather than
    documents. `counters` are those of these documents and rows alone.
    """

    def __init__(
        self, collection: Collection, documents: Batch, related: dict[Collection, Related], markets: Markets
    ) -> None:
        self.collection = collection
        self.documents = documents
        self.related = related
        self.markets = markets
        self.row_documents: npt.NDArray[np.int64] | None = None
        self.counters = RowCounters(read=documents.size)
        self.market_index: pa.Array = pa.nulls(documents.size, pa.int64())
        self.promoter_index: npt.NDArray[np.int64] | None = None
        self.held: dict[Field, Cells] = {}
        self._cache: dict[Field, Cells] = {}

    @property
    def rows(self) -> int:
        return self.documents.size if self.row_documents is None else len(self.row_documents)

    def choose_rows(self, rows: npt.NDArray[np.int64]) -> None:
        """Make new rows from the present ones: the n-th is what row ``rows[n]`` was."""
        self.row_documents = rows if self.row_documents is None else self.row_documents[rows]
        indices = pa.array(rows)
        self.market_index = self.market_index.take(indices)
        if self.promoter_index is not None:
            self.promoter_index = self.promoter_index[rows]
        self.held = {field: cells.take(indices) for field, cells in self.held.items()}
        self._cache.clear()

    def of_documents(self, flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return per row what `flags` says per scanned document."""
        return flags if self.row_documents is None else flags[self.row_documents]

    def count_documents(self, rows: npt.NDArray[np.bool_]) -> int:
        """Count the documents that have at least one of these rows."""
        if self.row_documents is None:
            return int(np.count_nonzero(rows))
        return len(np.unique(self.row_documents[rows]))

    def cells(self, field: Field) -> Cells:
        """Return a field's cells, one per row; empty ones where the document it belongs to is not there."""
        if field in self.held:
            return self.held[field]
        if field.collection is Collection.MARKETS:
            return self.markets.cells(field).take(self.market_index)
        cells = self._cache.get(field)
        if cells is None:
            cells = self._cache[field] = self.by_row(self.document_cells(field))
        return cells

    def by_row(self, cells: Cells) -> Cells:
        """Return a column with one cell per row, from one with a cell per scanned document."""
        return cells if self.row_documents is None else cells.take(pa.array(self.row_documents))

    def document_cells(self, field: Field) -> Cells:
        """Return a field's cells, one per scanned document."""
        if field.collection is self.collection:
            return cells_of_columns(self.documents.columns[field])
        related = self.related.get(field.collection)
        if related is None or not related.batch.size:
            return missing(self.documents.size)
        return cells_of_columns(related.batch.columns[field]).take(related.index)
