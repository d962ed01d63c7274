"""Ids as they are compared: as text, ObjectIds by their hex; 24 hex digits are the same id in either case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vfexport_core.sources.arrow_functions import pc

if TYPE_CHECKING:
    import pyarrow as pa

    from vfexport_core.rows.cells import Cells

_HEX_PATTERN = r"\A[0-9A-Fa-f]{24}\z"


def key_texts(cells: Cells) -> pa.Array:
    """Return the keys of a column of ids (strings, one per cell); null where the cell is blank."""
    return _lower_hex(pc.if_else(cells.blank(), None, cells.text))


def id_keys(text: pa.Array) -> pa.Array:
    """Return the keys of ids that are texts already; null where the text is missing or empty."""
    return _lower_hex(pc.if_else(pc.equal(text, ""), None, text))


def _lower_hex(text: pa.Array) -> pa.Array:
    lower = pc.ascii_lower(text)
    changed = pc.not_equal(lower, text)
    if not pc.any(changed).as_py():
        return text
    return pc.if_else(pc.match_substring_regex(text, _HEX_PATTERN), lower, text)


def index_by_key(keys: pa.Array, found: pa.Array) -> pa.Array:
    """Return, per key, the first place at which `found` has it (int32); null where it has not, and for a null key.

    An id whose text is empty (an empty array, a string of U+0000) names nobody.
    """
    named = pc.if_else(pc.equal(keys, ""), None, keys)
    return pc.index_in(named, value_set=found, skip_nulls=True)


def unmatched(keys: pa.Array, index: pa.Array) -> Any:
    """Return, per key, whether it is given but points nowhere (a numpy array of booleans)."""
    return np.asarray(pc.and_(pc.is_valid(keys), pc.is_null(index)))
