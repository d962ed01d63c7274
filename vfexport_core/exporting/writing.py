"""From lines to files: one CSV, a ZIP by promoter or region, or the parts that become objects of their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from vfexport_core.catalog.reminders import REGION, SFMC_LOCALE
from vfexport_core.catalog.spec import Shape
from vfexport_core.files.csv import header_line, lines_bytes
from vfexport_core.files.names import folder_name, unique_names
from vfexport_core.files.spool import Spool
from vfexport_core.files.zip import ZipStream
from vfexport_core.rows.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vfexport_core.exporting.stream import Lines, RowStream

_Group = TypeVar("_Group")


class PartName(NamedTuple):
    """One file of a split by region: parts of a region and locale are counted from 1."""

    region: str
    locale: str
    number: int

    @property
    def path(self) -> str:
        return f"{self.region}/{self.locale}-{self.number:03}.csv"


@dataclass(slots=True)
class CountingSink:
    """Passes bytes on and counts them."""

    out: Callable[[bytes], object]
    written: int = 0

    def write(self, data: bytes) -> None:
        self.out(data)
        self.written += len(data)


def write_file(
    stream: RowStream,
    out: Callable[[bytes], object],
    on_progress: Callable[[int, int, int], None],
) -> int:
    """Write an export as one file and give its size in bytes; what is split over several keys becomes a ZIP here.

    `on_progress` is told the documents read, the rows made and the bytes written so far, after every batch.
    """
    sink = CountingSink(out)

    def progress(lines: Lines) -> None:
        on_progress(lines.read, lines.rows, sink.written)

    if stream.spec.shape in (Shape.SINGLE, Shape.SAMPLE):
        sink.write(csv_header(stream))
        for lines in stream.lines():
            sink.write(lines_bytes(lines.text))
            progress(lines)
        return sink.written
    with Spool[object](limit_bytes=stream.settings.spool_max_bytes) as spool:
        if stream.spec.shape is Shape.ZIP_BY_PROMOTER:
            members = _spool_by_promoter(stream, spool, progress)
        else:
            parts = spool_by_region(stream, spool, progress)
            members = [(part.path, part) for part in sorted(parts)]
        header = csv_header(stream)
        with ZipStream(sink.write) as archive:
            for name, group in members:
                archive.add(name, _with_header(header, spool.read(group)), len(header) + spool.size(group))
                on_progress(stream.read, stream.rows, sink.written)
    return sink.written


def csv_header(stream: RowStream) -> bytes:
    """Give the header row of an export's files."""
    return header_line(column.header for column in stream.columns)


def spool_by_region(stream: RowStream, spool: Spool[object], progress: Callable[[Lines], None]) -> Counter[PartName]:
    """Spool the rows by region, locale and part of at most maxRowsPerFile rows; gives the rows of each part."""
    max_rows = stream.settings.max_rows_per_file
    rows_of: Counter[tuple[str, str]] = Counter()
    parts: Counter[PartName] = Counter()
    rules = stream.surroundings.rules
    for lines in stream.lines():
        regions = evaluate(REGION, lines.frame, rules).text.to_pylist()
        locales = evaluate(SFMC_LOCALE, lines.frame, rules).text.to_pylist()
        for group, text in _split(lines.text, list(zip(regions, locales, strict=True))):
            folder = (folder_name(group[0]), folder_name(group[1]))
            for number, piece in _pieces(text, rows_of[folder], max_rows):
                part = PartName(*folder, number)
                spool.append(part, lines_bytes(piece))
                parts[part] += len(piece)
            rows_of[folder] += len(text)
        progress(lines)
    return parts


def _spool_by_promoter(
    stream: RowStream, spool: Spool[object], progress: Callable[[Lines], None]
) -> list[tuple[str, object]]:
    for lines in stream.lines():
        assert lines.promoter is not None
        for promoter, text in _split(lines.text, lines.promoter.tolist()):
            spool.append(promoter, lines_bytes(text))
        progress(lines)
    names = unique_names((promoter.name for promoter in stream.surroundings.promoters), "csv")
    return [(name, place) for place, name in enumerate(names)]


def _split(text: pa.Array, groups: list[_Group]) -> Iterator[tuple[_Group, pa.Array]]:
    """Give the lines of each group, in their order."""
    places: dict[_Group, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    for group, rows in places.items():
        yield group, text.take(pa.array(np.array(rows, dtype=np.int64)))


def _pieces(text: pa.Array, before: int, max_rows: int) -> Iterator[tuple[int, pa.Array]]:
    """Cut lines where a part is full; `before` rows of the same region and locale went ahead of them."""
    start = 0
    while start < len(text):
        number, filled = divmod(before + start, max_rows)
        length = min(max_rows - filled, len(text) - start)
        yield number + 1, text.slice(start, length)
        start += length


def _with_header(header: bytes, data: Iterator[bytes]) -> Iterator[bytes]:
    yield header
    yield from data
