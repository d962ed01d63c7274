"""CSV by RFC 4180: UTF-8, no BOM, LF line ends, quotes only where they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from vfexport_core.rows.cells import text_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vfexport_core.rows.render import TextColumn

_NEEDS_QUOTES = r'[",\r\n]'
_SPECIAL_BYTES = (b",", b'"', b"\n", b"\r")


def header_line(names: Iterable[str]) -> bytes:
    """Write the header row."""
    fields = quoted(pa.array(list(names), pa.string()))
    return (",".join(fields.to_pylist()) + "\n").encode()


def csv_lines(columns: Sequence[TextColumn], rows: int) -> pa.Array:
    """Write `rows` rows: one string per row, each with its line end."""
    encoded = [_encoded(column) for column in columns]
    if all(isinstance(column, pa.Scalar) for column in encoded):
        encoded[0] = pa.repeat(encoded[0], rows)
    lines = pc.binary_join_element_wise(*encoded, ",", null_handling="replace", null_replacement="")
    return pc.binary_join_element_wise(lines, "\n", "")


def lines_bytes(lines: pa.Array) -> bytes:
    """Give the bytes of the lines, one behind the other."""
    return text_bytes(lines)


def quoted(text: pa.Array) -> pa.Array:
    """Quote the strings that RFC 4180 wants quoted."""
    data = text_bytes(text)
    if not any(byte in data for byte in _SPECIAL_BYTES):
        return text
    needed = pc.match_substring_regex(text, _NEEDS_QUOTES)
    doubled = pc.replace_substring(text, '"', '""') if b'"' in data else text
    return pc.if_else(needed, pc.binary_join_element_wise('"', doubled, '"', ""), text)


def _encoded(column: TextColumn) -> pa.Array | pa.Scalar:
    if isinstance(column, pa.Scalar):
        return quoted(pa.array([column.as_py()], pa.string()))[0]
    if isinstance(column, pa.DictionaryArray):
        # Quoting the few strings of the dictionary once is cheaper than quoting them on every row.
        return quoted(column.dictionary).take(column.indices)
    return quoted(column)
