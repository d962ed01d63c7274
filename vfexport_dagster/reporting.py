"""What a run writes into its log: every line carries the export's correlation id; no line carries a fan's data."""

from __future__ import annotations

import contextlib
import logging
import traceback
from typing import TYPE_CHECKING

import dagster as dg

from vfexport_core.errors import VfexportError, error_document
from vfexport_dagster import tags

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_CORE = "vfexport_core"
_FRAMES = 8


class Skipped(Exception):
    """A run that a sensor asked for has nothing to do any more; the message says why."""


class RunLog:
    """The run's log, with the correlation id at the end of each line."""

    def __init__(self, log: logging.Logger, correlation_id: str) -> None:
        self._log = log
        self._suffix = f" [{correlation_id}]"

    @classmethod
    def of_run(cls, context: dg.OpExecutionContext) -> RunLog:
        """Return the log of a run that does not know its export yet; one started by hand is its own correlation id."""
        return cls(context.log, context.run.tags.get(tags.CORRELATION_ID, context.run_id))

    def report(self, text: str) -> None:
        self._log.info(text + self._suffix)

    def report_warning(self, text: str) -> None:
        self._log.warning(text + self._suffix)

    @contextlib.contextmanager
    def with_core(self) -> Generator[None]:
        """Also take what vfexport_core logs during the block (requests tried again, for example)."""
        handler = _Forward(self)
        logger = logging.getLogger(_CORE)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)


class _Forward(logging.Handler):
    def __init__(self, log: RunLog) -> None:
        super().__init__(logging.WARNING)
        self._to = log

    def emit(self, record: logging.LogRecord) -> None:
        self._to.report_warning(record.getMessage())


def as_failure(error: Exception) -> dg.Failure:
    """Turn an exception into the end of a run: code, message and hint in the description, no retry by Dagster."""
    fields = error_document(error)
    hint = error.hint if isinstance(error, VfexportError) else VfexportError.hint
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    metadata = {name: value for name, value in fields.items() if value is not None} | {
        "hint": hint,
        "raised at": "\n".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames),
    }
    description = f"{fields['code']}: {fields['message']}. {hint}"
    return dg.Failure(description, metadata=metadata, allow_retries=False)


@contextlib.contextmanager
def failing(log: RunLog) -> Generator[None]:
    """Turn whatever is raised inside into a Failure; an interrupt stays one, and so does `Skipped`."""
    try:
        with log.with_core():
            yield
    except (dg.Failure, Skipped):
        raise
    except Exception as error:  # noqa: BLE001 whatever it is, the run ends with it
        # "from None": the chain would print messages of the driver and of Python, and those may quote data.
        raise as_failure(error) from None


@contextlib.contextmanager
def recorded(end: Callable[[Exception], object], log: RunLog) -> Generator[None]:
    """Have `end` record whatever is raised inside as the end of the attempt (L5), then let the run fail.

    An interrupt is not recorded here: whether it was a cancel or a timeout is known outside (``sensors/outcome``).
    """
    with failing(log):
        try:
            yield
        except Exception as error:
            end(error)
            raise
