"""A column of cells, and how Arrow arrays and BSON values become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vfexport_core.catalog.expressions import ARRAY_SEPARATOR
from vfexport_core.rows.json_texts import json_texts
from vfexport_core.rows.texts import contains_byte, without_nul
from vfexport_core.rows.typed import render_array
from vfexport_core.rows.values import GUARDED, PRESENT, REPAIRED, render
from vfexport_core.sources.arrow_functions import pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vfexport_core.sources.batch import ColumnValues

# The flags of a whole column: one for all, or one per cell (see rows.values).
Flags: TypeAlias = "int | npt.NDArray[np.uint8]"


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of cells: `text` holds strings, one per cell, null for a value that is missing or null.

    `flags` (rows.values) is one integer for all cells, or an array of uint8 with one per cell.

    PRESENT is only set where it matters: on cells that are not blank although their text is empty.
    """

    text: pa.StringArray
    flags: Flags

    def __len__(self) -> int:
        return len(self.text)

    def take(self, indices: pa.Array) -> Cells:
        """Return the cells at `indices` (int64), as many as these; a null index gives a missing cell."""
        flags = self.flags
        if not isinstance(flags, int):
            places = np.asarray(indices.fill_null(-1), dtype=np.int64)
            flags = np.where(places < 0, 0, flags[places]).astype(np.uint8) if len(flags) else 0
        return Cells(self.text.take(indices), flags)

    def blank(self) -> pa.Array:
        """Return, per cell, whether ``a | b`` passes over it: missing, null or an empty string.

        Booleans, as many as cells, none null.
        """
        nothing = pc.is_null(self.text)
        if isinstance(self.flags, int) and self.flags & PRESENT:
            return nothing
        empty = pc.fill_null(pc.equal(self.text, ""), fill_value=False)
        if not isinstance(self.flags, int):
            empty = pc.and_not(empty, pa.array((self.flags & PRESENT) != 0))
        return pc.or_(nothing, empty)

    def or_else(self, other: Cells) -> Cells:
        """``self | other``: a cell of `other` where this one is missing, null or an empty string."""
        blank = self.blank()
        if not pc.any(blank).as_py():
            return self
        flags = self.flags
        if not (isinstance(flags, int) and isinstance(other.flags, int) and flags == other.flags):
            flags = np.where(np.asarray(blank), other.flags, flags).astype(np.uint8)
        return Cells(pc.if_else(blank, other.text, self.text), flags)

    def filled(self, text: str) -> Cells:
        """Write `text` where a cell is missing or null."""
        return Cells(pc.fill_null(self.text, text), self.flags)

    def repaired(self) -> int:
        """Count the cells that held bytes which are not UTF-8."""
        if isinstance(self.flags, int):
            return len(self) if self.flags & REPAIRED else 0
        return int(np.count_nonzero(self.flags & REPAIRED))


def missing(size: int) -> Cells:
    """Return `size` missing cells."""
    return Cells(pa.nulls(size, pa.string()), 0)


def cells_of_values(values: Sequence[Any]) -> Cells:
    """Render BSON values one by one: sound for any value."""
    return cells_of_rendered([render(value) for value in values])


def cells_of_rendered(rendered: Sequence[tuple[str | None, int]]) -> Cells:
    """Make a column of (text, flags) pairs."""
    text = pa.array([text for text, _ in rendered], pa.string())
    return Cells(text, np.fromiter((flags for _, flags in rendered), dtype=np.uint8, count=len(rendered)))


def cells_of_columns(columns: Iterable[ColumnValues]) -> Cells:
    """Render the values of one field, one cell per document, whatever their types."""
    return concat([_cells_of_column(column) for column in columns])


def _cells_of_column(column: ColumnValues) -> Cells:
    parts = [cells_of_values(part) if isinstance(part, list) else cells_of_array(part) for part in column.parts]
    if column.places is None:
        return parts[0]
    return concat(parts).take(pa.array(column.places, mask=column.places < 0))


def cells_of_array(array: pa.Array) -> Cells:
    """Render a decoded Arrow array: all its values have the one type."""
    if pa.types.is_string(array.type):
        return _without_nul(array)
    if pa.types.is_list(array.type):
        return Cells(without_nul(pc.binary_join(array, ARRAY_SEPARATOR)), GUARDED | PRESENT)
    if pa.types.is_struct(array.type):
        return Cells(json_texts(array), GUARDED | PRESENT)
    return Cells(render_array(array), PRESENT)


def _without_nul(text: pa.Array) -> Cells:
    """Remove U+0000; a string of nothing else is not blank, although nothing is left of it."""
    if not contains_byte(text, b"\0"):
        return Cells(text, GUARDED)
    stripped = pc.replace_substring(text, "\0", "")
    emptied = pc.and_(pc.equal(stripped, ""), pc.not_equal(text, ""))
    flags = np.where(np.asarray(pc.fill_null(emptied, fill_value=False)), GUARDED | PRESENT, GUARDED)
    return Cells(stripped, flags.astype(np.uint8))


def concat(parts: list[Cells]) -> Cells:
    """Join columns end to end."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return missing(0)
    if all(isinstance(part.flags, int) for part in parts) and len({part.flags for part in parts}) == 1:  # pyright: ignore[reportUnhashable] all are integers
        flags = parts[0].flags
    else:
        flags = np.concatenate([np.broadcast_to(np.asarray(part.flags, dtype=np.uint8), len(part)) for part in parts])
    return Cells(pa.concat_arrays([part.text for part in parts]), flags)
