"""The formula guard: a spreadsheet must not run what a fan typed.

A cell that was text and begins like a formula gets a leading apostrophe, unless the whole cell is a phone number or a
plain number. Only files meant for people are guarded; machines read the others as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from vfexport_core.rows.cells import Cells
from vfexport_core.rows.values import GUARDED

if TYPE_CHECKING:
    from vfexport_core.rows.cells import Flags

_FORMULA_START = r"^[=+\-@\t\r]"
_PLAIN_NUMBER = r"^[+-]?[0-9][0-9 ().-]*\z"
_PREFIX = "'"


def guarded(cells: Cells) -> Cells:
    """Put an apostrophe before every cell that a spreadsheet would take for a formula."""
    if isinstance(cells.flags, int) and not cells.flags & GUARDED:
        return cells
    suspect = pc.match_substring_regex(cells.text, _FORMULA_START)
    if not pc.any(suspect).as_py():
        return cells
    dangerous = pc.and_not(suspect, pc.match_substring_regex(cells.text, _PLAIN_NUMBER))
    if not isinstance(cells.flags, int):
        dangerous = pc.and_(dangerous, _guardable(cells.flags))
    prefixed = pc.binary_join_element_wise(_PREFIX, cells.text, "")
    return Cells(pc.if_else(pc.fill_null(dangerous, fill_value=False), prefixed, cells.text), cells.flags)


def _guardable(flags: Flags) -> pa.Array:
    return pa.array((flags & GUARDED) != 0)
