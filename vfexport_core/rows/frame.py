"""One batch of rows: the scanned documents, their look-ups and their markets, addressed by field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vfexport_core.catalog.spec import Field, Root
from vfexport_core.rows.cells import Cells, cells_of_chunks, missing

if TYPE_CHECKING:
    from vfexport_core.rows.markets import Markets
    from vfexport_core.sources.batch import Batch


@dataclass(slots=True)
class Frame:
    """Rows to be rendered.

    `documents` are the scanned ones; `users` those found for them, with `user_index` pointing from document to user;
    `market_index` points from row to market. `row_documents`, when set, points from row to document: then a document
    has several rows (one per market). A null index points nowhere: the cells are empty.
    """

    documents: Batch
    users: Batch
    user_index: pa.Array
    markets: Markets
    market_index: pa.Array
    row_documents: pa.Array | None = None
    _cache: dict[Field, Cells] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.documents.size if self.row_documents is None else len(self.row_documents)

    def cells(self, item: Field) -> Cells:
        """Give a field of the scanned document or of its user, one cell per row."""
        cells = self._cache.get(item)
        if cells is None:
            cells = self._document_cells(item)
            if self.row_documents is not None:
                cells = cells.take(self.row_documents)
            self._cache[item] = cells
        return cells

    def _document_cells(self, item: Field) -> Cells:
        if item.root is Root.USER:
            if not self.users.size:
                return missing(self.documents.size)
            return cells_of_chunks(self.users.columns[item]).take(self.user_index)
        return cells_of_chunks(self.documents.columns[item])


def key_texts(cells: Cells) -> pa.Array:
    """Give ids as they are compared: as text, ObjectIds by their hex, in lower case."""
    return pc.utf8_lower(cells.text)


def index_by_key(keys: pa.Array, found: Cells) -> pa.Array:
    """Point from each key to the found document that has it; null where there is none."""
    return pc.index_in(keys, value_set=key_texts(found))


def count_unmatched(keys: pa.Array, index: pa.Array) -> int:
    """Count the keys that are there (neither missing nor empty) but point nowhere."""
    given = pc.fill_null(pc.not_equal(keys, ""), fill_value=False)
    return int(np.count_nonzero(np.asarray(pc.and_(given, pc.is_null(index)))))
