"""Showing progress on stderr: a bar on a terminal, a line about every second elsewhere, nothing for machines."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from vfexport_core.telemetry.progress import Meter, duration

if TYPE_CHECKING:
    from collections.abc import Generator

LINE_SECONDS = 1.0


class Display(Protocol):
    """What a command tells about its way; none of these ever fails or waits."""

    def note(self, text: str) -> None:
        """Show in words what is happening; the same text again is said once."""
        ...

    def expect(self, total: int | None) -> None:
        """Take the number of documents to read, None when it is not known."""
        ...

    def update(self, read: int, rows: int, size: int) -> None:
        """Take documents read, rows and bytes written so far."""
        ...


class Silent:
    """Shows nothing."""

    def note(self, text: str) -> None:
        del text

    def expect(self, total: int | None) -> None:
        del total

    def update(self, read: int, rows: int, size: int) -> None:
        del read, rows, size


class Lines:
    """Writes lines, for logs and pipes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._meter = Meter()
        self._noted = ""
        self._written = time.monotonic()

    def note(self, text: str) -> None:
        if text != self._noted:
            self._noted = text
            self._write(text)

    def expect(self, total: int | None) -> None:
        self._meter.total = total

    def update(self, read: int, rows: int, size: int) -> None:
        self._meter.update(read, rows, size)
        if time.monotonic() - self._written >= LINE_SECONDS:
            self._write(self._meter.line())

    def _write(self, text: str) -> None:
        self._written = time.monotonic()
        # An export does not fail because nobody watches it any more.
        with contextlib.suppress(OSError):
            click.echo(f"{self._name}: {text}", err=True)


class Bar:
    """Moves a bar, for people at a terminal."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._progress = progress
        self._meter = Meter()
        self._task = progress.add_task(name, total=None, numbers="")

    def note(self, text: str) -> None:
        self._progress.update(self._task, numbers=text)

    def expect(self, total: int | None) -> None:
        self._meter.total = total
        self._progress.update(self._task, total=total)

    def update(self, read: int, rows: int, size: int) -> None:
        self._meter.update(read, rows, size)
        left = self._meter.seconds_left
        numbers = f"{rows:>11,} rows {self._meter.rows_per_second:>9,.0f} rows/s {size / 1_000_000:>8,.1f} MB"
        ending = "" if left is None else f"  {duration(left)} left"
        self._progress.update(self._task, completed=read, numbers=numbers + ending)


@contextlib.contextmanager
def shown(name: str, *, as_json: bool) -> Generator[Display]:
    """Show the progress of the block; with `as_json` only to people, since a machine reads stderr for errors."""
    if not sys.stderr.isatty():
        yield Silent() if as_json else Lines(name)
        return
    columns = (TextColumn("[bold]{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[numbers]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(name, progress)
