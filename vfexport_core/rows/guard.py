"""The formula guard: a spreadsheet must not run what a fan typed.

A cell that was text and begins like a formula gets a leading apostrophe, unless the whole cell is a phone number or a
plain number. Only files meant for people are guarded; machines read the others as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

from vfexport_core.rows.cells import Cells
from vfexport_core.rows.texts import are_phone_numbers, rewrite, rows_beginning_with
from vfexport_core.rows.values import GUARDED

if TYPE_CHECKING:
    import pyarrow as pa

_FORMULA_START = b"=+-@\t\r"
_PLAIN_NUMBER = r"^[+-]?[0-9][0-9 ().-]*\z"
_PREFIX = "'"


def guarded(cells: Cells) -> Cells:
    """Put an apostrophe before every cell that a spreadsheet would take for a formula."""
    flags = cells.flags
    if isinstance(flags, int) and not flags & GUARDED:
        return cells
    suspects = rows_beginning_with(cells.text, _FORMULA_START)
    if not isinstance(flags, int):
        suspects = suspects[(flags[suspects] & GUARDED) != 0]
    return Cells(rewrite(cells.text, suspects, _prefixed), flags)


def _prefixed(suspects: pa.Array) -> pa.Array:
    if are_phone_numbers(suspects):
        return suspects
    plain = pc.match_substring_regex(suspects, _PLAIN_NUMBER)
    return pc.if_else(plain, suspects, pc.binary_join_element_wise(_PREFIX, suspects, ""))
