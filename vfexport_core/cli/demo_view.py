"""What a demo looks like: on a terminal it moves, elsewhere it is lines."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vfexport_core.telemetry.progress import MEGABYTE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from rich.console import RenderableType

    from vfexport_core.embedded.demo import DemoExport, Handover

_COLORS = {"PENDING": "dim", "TRIGGERED": "yellow", "FINISHED": "green"}
_LINE_SECONDS = 2.0
_BAR_WIDTH = 30


class DemoView:
    """Shows the start of a stack and the way of its exports, on stdout."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._console = Console(highlight=False, soft_wrap=True)
        self._begin = time.monotonic()
        self._lock = threading.Lock()
        self._told = self._begin

    def say(self, text: str = "", style: str = "") -> None:
        """Print a line."""
        with self._lock:
            self._console.print(Text(text, style=style))

    def started(self, name: str, address: str) -> None:
        """Report that a part of the stack is up, and how long after the beginning."""
        self.say(f"{time.monotonic() - self._begin:5.1f} s  {name:<9} {address}")

    def loaded(self, entries: int) -> None:
        """Report how far the campaign is loaded, about every two seconds and in the end."""
        if entries < self._entries and time.monotonic() - self._told < _LINE_SECONDS:
            return
        self._told = time.monotonic()
        self.started("Campaign", f"{entries:,} of {self._entries:,} entries loaded")

    @contextlib.contextmanager
    def exports(self) -> Generator[Callable[[Sequence[DemoExport]], None]]:
        """Show the exports in the block, each time the given function is called."""
        self.say()
        if self._console.is_terminal:
            with Live(console=self._console, refresh_per_second=8, transient=True) as live:
                yield lambda exports: live.update(_table(exports))
        else:
            yield _Changes(self.say).show

    def result(self, exports: Sequence[DemoExport], addresses: Mapping[str, str]) -> None:
        """Print where every file is, and every address; nothing is cut, so that it can be copied."""
        for export in exports:
            time_taken = "" if export.seconds is None else f"{export.seconds:.1f} s"
            summary = f"{export.rows:,} rows  {export.bytes:,} bytes  {time_taken}"
            with self._lock:
                status = Text(f"{export.status:<9}", style=_COLORS.get(export.status, "red"))
                self._console.print(Text(f"{export.type:<20} ", style="bold") + status + Text(f"  {summary}"))
            for line in _places(export):
                self.say(f"  {line}")
            if export.error:
                self.say(f"  {export.error}", style="red")
        self.say()
        for name, address in addresses.items():
            self.say(f"{name:<11} {address}")
        finished = sum(export.status == "FINISHED" for export in exports)
        self.say(f"\n{finished} of {len(exports)} exports FINISHED, {time.monotonic() - self._begin:.0f} s in all")

    def handover(self, handover: Handover) -> None:
        """Print what somebody needs who goes on by hand."""
        self.say()
        for name, text in handover.lines:
            self.say(f"{name:<11} {text}")
        self.say()


class _Changes:
    """Writes a line for an export when its status changes, and now and then when it has got on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: dict[str, tuple[DemoExport, float]] = {}

    def show(self, exports: Sequence[DemoExport]) -> None:
        for export in exports:
            known, when = self._told.get(export.id, (None, 0.0))
            moved = export != known and time.monotonic() - when >= _LINE_SECONDS
            if known is None or known.status != export.status or moved:
                self._say(f"{export.type:<20} {export.status:<9} {export.percent:5.1f} %  {export.rows:,} rows")
                self._told[export.id] = (export, time.monotonic())


def _places(export: DemoExport) -> list[str]:
    """Report where the export's files are; those of a long list have a line each, as `sha256sum` writes them."""
    if not export.keys:
        return []
    bucket = f"bucket   {export.bucket}"
    if len(export.keys) == 1:
        return [bucket, f"key      {export.keys[0]}", f"SHA-256  {export.sha256[0]}"]
    files = [f"{digest}  {key}" for key, digest in zip(export.keys, export.sha256, strict=True)]
    return [bucket, f"SHA-256 and key of {len(files)} files", *(f"  {file}" for file in files)]


def _table(exports: Sequence[DemoExport]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("type", "status", ""):
        table.add_column(name)
    for name in ("rows", "MB", "seconds"):
        table.add_column(name, justify="right")
    for export in exports:
        bar: RenderableType = ProgressBar(total=100, completed=export.percent, width=_BAR_WIDTH)
        seconds = "" if export.seconds is None else f"{export.seconds:.1f}"
        status = Text(export.status, style=_COLORS.get(export.status, "red"))
        table.add_row(export.type, status, bar, f"{export.rows:,}", f"{export.bytes / MEGABYTE:,.1f}", seconds)
    return table
