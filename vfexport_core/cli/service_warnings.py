"""What the service warns of while a command runs: a line on stderr for people, nothing where stderr is JSON."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Generator

# The driver's own words on a connection that failed: pages of them, and the error says in short what matters.
_DRIVER = "vfexport_core.mongo.client"


class _Lines(logging.Handler):
    """Writes warnings for people; `everything`: whatever it is given, whoever reads."""

    def __init__(self, *, quiet: bool, everything: bool) -> None:
        super().__init__(logging.WARNING)
        self._quiet = quiet
        self._everything = everything

    def emit(self, record: logging.LogRecord) -> None:
        if self._everything or not (self._quiet or record.name == _DRIVER):
            with contextlib.suppress(OSError):  # nobody may be there to read it
                click.echo(f"{record.levelname.lower()}: {record.getMessage()}", err=True)


@contextlib.contextmanager
def shown_warnings(*, quiet: bool, everything: bool) -> Generator[None]:
    """Show warnings for the block as far as the command does not set up logs of its own, as `api` and `serve` do."""
    before, logging.lastResort = logging.lastResort, _Lines(quiet=quiet, everything=everything)
    try:
        yield
    finally:
        logging.lastResort = before
