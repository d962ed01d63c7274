"""CSV by RFC 4180: UTF-8, no BOM, LF line ends, quotes only where they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from vfexport_core.rows.texts import rewrite, rows_holding
from vfexport_core.sources.arrow_functions import pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vfexport_core.rows.render import TextColumn

_NEED_QUOTES = b',"\n\r'


class Csv:
    """The file format: a header row, then the rows."""

    def __init__(self, headers: Iterable[str]) -> None:
        self.header = encode_header(headers)

    def rows(self, columns: Sequence[TextColumn], count: int) -> pa.StringArray:
        """Return `count` rows: one string each, with its line end, none null."""
        return encode_rows(columns, count)


def encode_header(names: Iterable[str]) -> bytes:
    """Return the header row."""
    fields = quoted(pa.array(list(names), pa.string()))
    return (",".join(fields.to_pylist()) + "\n").encode()


def encode_rows(columns: Sequence[TextColumn], rows: int) -> pa.StringArray:
    """Return `rows` rows: one string each, with its line end, none null. `columns` are as long, or scalars."""
    encoded = [_encoded(column) for column in columns]
    # Here the line end lengthens one column; at the end of a line it would mean to write all lines once more.
    encoded[-1] = _joined(encoded[-1], "\n", "")
    if all(isinstance(column, pa.Scalar) for column in encoded):
        encoded[0] = pa.repeat(encoded[0], rows)
    return _joined(*encoded, ",")


def quoted(text: pa.Array) -> pa.Array:
    """Return the strings, those in quotes that RFC 4180 wants quoted; a null stays one."""
    return rewrite(text, rows_holding(text, _NEED_QUOTES), _in_quotes)


def _in_quotes(text: pa.Array) -> pa.Array:
    return _joined('"', pc.replace_substring(text, '"', '""'), '"', "")


def _joined(*parts: pa.Array | pa.Scalar | str) -> pa.Array | pa.Scalar:
    """Join by element, the last part in between; what is missing is empty."""
    return pc.binary_join_element_wise(*parts, null_handling="replace", null_replacement="")


def _encoded(column: TextColumn) -> pa.Array | pa.Scalar:
    if isinstance(column, pa.Scalar):
        return quoted(pa.array([column.as_py()], pa.string()))[0]
    if isinstance(column, pa.DictionaryArray):
        # Quoting the few strings of the dictionary once is cheaper than quoting them on every row.
        return quoted(column.dictionary).take(column.indices)
    return quoted(column)
