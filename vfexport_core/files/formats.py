"""The formats of files: how columns of text become bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, assert_never

from vfexport_core.catalog.spec import Format
from vfexport_core.files.csv import Csv

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from vfexport_core.rows.render import TextColumn


class FileFormat(Protocol):
    """A file is its header, then rows, one behind the other: a row does not depend on others.

    So rows can be divided among files, counted and written by another process than encoded them.
    """

    header: bytes
    """What a file begins with, also one without rows."""

    def rows(self, columns: Sequence[TextColumn], count: int) -> pa.StringArray:
        """Return `count` rows, one string each, with all that ends a row; none is null."""
        ...


def open_format(name: Format, headers: Iterable[str]) -> FileFormat:
    """Return the format of this name, for files with these columns."""
    match name:
        case Format.CSV:
            return Csv(headers)
        case _:
            assert_never(name)
