"""The formula guard: a spreadsheet must not run what a fan typed.

A cell that was text and begins like a formula gets a leading apostrophe, unless the whole cell is a phone number or a
plain number. So does whatever begins like a formula behind a semicolon, a tab or a line end inside the cell: programs
that separate columns by these begin a cell there. ADR 11 has what was seen in spreadsheets. Only files meant for people
are guarded; machines read the others as they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from vfexport_core.rows.cells import Cells
from vfexport_core.rows.texts import are_phone_numbers, rewrite, rows_beginning_with, rows_holding
from vfexport_core.rows.values import GUARDED
from vfexport_core.sources.arrow_functions import pc

if TYPE_CHECKING:
    import numpy.typing as npt

_PREFIX = "'"
_NUMBER = "[+-]?[0-9][0-9 ().-]*"
_FORMULA = "[=+\\-@\uff1d\uff0b\uff0d\uff20]"  # the last four are the full-width forms of the first four
_SEPARATORS = b";\t\r\n"

# The first bytes of what a guarded cell may begin with: those of a formula, of a separator, of a full-width character.
_FIRST_BYTES = b"=+-@\t\r\n\xef"
_BEGINS = rf"^(?:{_FORMULA}|[\t\r\n])"
_IS_NUMBER = rf"^{_NUMBER}\z"
_HOLDS = rf"[;\t\r\n]{_FORMULA}"
_INSIDE = re.compile(rf"(?<=[;\t\r\n])(?={_FORMULA})(?!{_NUMBER}(?:[;\t\r\n]|\Z))")


def guarded(cells: Cells) -> Cells:
    """Return the cells with an apostrophe before all that a spreadsheet would take for a formula."""
    flags = cells.flags
    if isinstance(flags, int) and not flags & GUARDED:
        return cells
    inside, beginning = _formulas_inside(cells.text), rows_beginning_with(cells.text, _FIRST_BYTES)
    if not isinstance(flags, int):
        inside, beginning = (rows[(flags[rows] & GUARDED) != 0] for rows in (inside, beginning))
    return Cells(rewrite(rewrite(cells.text, inside, _inside), beginning, _prefixed), flags)


def _formulas_inside(text: pa.Array) -> npt.NDArray[np.int64]:
    """Return the rows that hold a separator with the beginning of a formula behind it, ascending."""
    holding = rows_holding(text, _SEPARATORS)
    if not len(holding):
        return holding
    return holding[np.asarray(pc.match_substring_regex(text.take(pa.array(holding)), _HOLDS))]


def _inside(text: pa.Array) -> pa.Array:
    # RE2, which Arrow has, cannot look behind or ahead; the strings are few.
    return pa.array([_INSIDE.sub(_PREFIX, cell) for cell in text.to_pylist()], pa.string())


def _prefixed(text: pa.Array) -> pa.Array:
    if are_phone_numbers(text):
        return text
    meant = pc.and_not(pc.match_substring_regex(text, _BEGINS), pc.match_substring_regex(text, _IS_NUMBER))
    return pc.if_else(meant, pc.binary_join_element_wise(_PREFIX, text, ""), text)
