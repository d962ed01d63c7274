"""From encoded rows to files: one, the members of a ZIP, or several that become objects of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, assert_never

from vfexport_core.catalog.spec import Container
from vfexport_core.files.grouping import ByRegionAndLocale, PartName
from vfexport_core.files.spool import Spool
from vfexport_core.files.zip import ZipStream
from vfexport_core.rows.texts import text_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vfexport_core.files.grouping import EncodedBatch, Partition

FileName: TypeAlias = "PartName | None"
"""A file of several; None for the one file of an export that has only one."""


class FileWriter(Protocol):
    """Takes the files of an export, one behind the other."""

    def begin(self, files: Sequence[FileName]) -> None:
        """Name all files, before the first byte of any."""
        ...

    def open(self, file: FileName) -> None:
        """Begin a file; the one before it was ended."""
        ...

    def write(self, data: bytes) -> object:
        """Take the next bytes of the file."""
        ...

    def end(self) -> None:
        """End the file: all its bytes were written."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How an export's rows become files: each begins with `header`; without `partition` there is one only.

    Rows that wait for their file take at most `spool_max_bytes` of temporary space.
    """

    container: Container
    header: bytes
    partition: Partition[Any] | None
    spool_max_bytes: int


def write_files(
    batches: Iterable[EncodedBatch], layout: Layout, writer: FileWriter, progress: Callable[[], object]
) -> dict[FileName, int]:
    """Write all files, and return them with the rows of each.

    `progress` is called after every batch and every file. Raises SpoolFull and whatever `batches` and `writer` raise.
    """
    match layout.container:
        case Container.SINGLE_FILE:
            return _write_one(batches, layout, writer, progress)
        case Container.ZIP:
            return _write_archive(batches, layout, writer, progress)
        case Container.OBJECTS:
            return _write_objects(batches, layout, writer, progress)
        case _:
            assert_never(layout.container)


def _write_one(
    batches: Iterable[EncodedBatch], layout: Layout, writer: FileWriter, progress: Callable[[], object]
) -> dict[FileName, int]:
    writer.begin([None])
    writer.open(None)
    writer.write(layout.header)
    rows = 0
    for batch in batches:
        for group in batch.groups:
            writer.write(text_bytes(group.rows))
            rows += len(group.rows)
        progress()
    writer.end()
    return {None: rows}


def _write_archive(
    batches: Iterable[EncodedBatch], layout: Layout, writer: FileWriter, progress: Callable[[], object]
) -> dict[FileName, int]:
    assert layout.partition is not None
    writer.begin([None])
    writer.open(None)
    with Spool[object](limit_bytes=layout.spool_max_bytes) as spool:
        rows = _fill(spool, batches, layout.partition, progress)
        with ZipStream(writer.write) as archive:
            for file, path in layout.partition.files().items():
                size = len(layout.header) + spool.size(file)
                archive.add(path, _with_header(layout.header, spool.read(file)), size)
                progress()
    writer.end()
    return {None: rows}


def _write_objects(
    batches: Iterable[EncodedBatch], layout: Layout, writer: FileWriter, progress: Callable[[], object]
) -> dict[FileName, int]:
    assert isinstance(layout.partition, ByRegionAndLocale)
    with Spool[object](limit_bytes=layout.spool_max_bytes) as spool:
        _fill(spool, batches, layout.partition, progress)
        files = list(layout.partition.files())
        writer.begin(files)
        for file in files:
            writer.open(file)
            for data in _with_header(layout.header, spool.read(file)):
                writer.write(data)
            writer.end()
            progress()
    return {file: layout.partition.rows[file] for file in files}


def _fill(
    spool: Spool[object],
    batches: Iterable[EncodedBatch],
    partition: Partition[Any],
    progress: Callable[[], object],
) -> int:
    """Spool the rows by file, and return how many they are."""
    count = 0
    for batch in batches:
        for group in batch.groups:
            for file, rows in partition.place(group):
                spool.append(file, text_bytes(rows))
            count += len(group.rows)
        progress()
    return count


def _with_header(header: bytes, data: Iterator[bytes]) -> Iterator[bytes]:
    yield header
    yield from data
