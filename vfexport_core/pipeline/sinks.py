"""Where the files of an export go, all or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from vfexport_core.files.containers import FileWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vfexport_core.files.containers import FileName


class Sink(FileWriter, Protocol):
    """Takes the files of one export and makes them visible together; what was not published is discarded.

    ::

        with sink:
            rows = pipeline.write(sink, on_progress)
            sink.publish(rows)                        # leaving the block without this leaves nothing
    """

    @property
    def takes_several(self) -> bool:
        """Whether files that belong to one export may be objects of their own."""
        ...

    @property
    def bytes_written(self) -> int:
        """The size of all files so far."""
        ...

    def publish(self, rows: Mapping[FileName, int]) -> None:
        """Make the files that were written visible, with the number of rows of each."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class ByteStream(Protocol):
    """Whatever takes bytes, one block after the other."""

    def write(self, data: bytes, /) -> object: ...


class StreamSink:
    """Hands the bytes of the one file to `out` as they come: whoever owns that makes them visible."""

    takes_several = False

    def __init__(self, out: ByteStream) -> None:
        self.bytes_written = 0
        self._out = out

    def begin(self, files: Sequence[FileName]) -> None:
        """Do nothing: the file has its name already."""

    def open(self, file: FileName) -> None:
        """Do nothing: the stream is open."""

    def write(self, data: bytes) -> None:
        self._out.write(data)
        self.bytes_written += len(data)

    def end(self) -> None:
        """Do nothing: the stream is its owner's to end."""

    def publish(self, rows: Mapping[FileName, int]) -> None:
        """Do nothing: what was written is where it belongs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: what is incomplete is its owner's to discard."""
