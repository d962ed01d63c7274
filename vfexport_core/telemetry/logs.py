"""Structured logs: one JSON object per line, each with what it is about; no token, no fan data, no user ids.

An exception is logged by its class and its frames only, since messages tend to quote the data they stumbled over.
"""

from __future__ import annotations

import functools
import json
import logging
import logging.config
import os
import sys
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vfexport_core.settings import PREFIX
from vfexport_core.telemetry import context

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

FIELDS_KEY = "fields"
"""``extra={FIELDS_KEY: {...}}`` puts these members into the line."""

_PACKAGE = "vfexport_core"
_FRAMES = 20
# The driver logs whole commands, and with them data, below WARNING.
_TALKATIVE = ("pymongo", "botocore", "boto3", "urllib3")


def read_record(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """Return a record's message, and what it is about beside what its code works for and says itself."""
    return record.getMessage(), {}


class StructuredFormatter(logging.Formatter):
    """What both forms have in common: the parts of a line, of a record that `read` can read."""

    def __init__(self, read: Callable[[logging.LogRecord], tuple[str, dict[str, Any]]] = read_record) -> None:
        super().__init__()
        self._read = read

    def parts_of(self, record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
        """Return the message, and what the line is about, and how it came to an exception."""
        message, about = self._read(record)
        found: dict[str, Any] = about | context.fields() | getattr(record, FIELDS_KEY, {})
        if record.exc_info and record.exc_info[1] is not None:
            found["exception"] = _describe(record.exc_info[1])
        return message, found


class JsonFormatter(StructuredFormatter):
    """Formats a record as one line of JSON: time, level, logger, message, correlationId, fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        message, found = self.parts_of(record)
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
        }
        return json.dumps(line | found, default=str)


class TextFormatter(StructuredFormatter):
    """The same for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        message, found = self.parts_of(record)
        described = found.pop("exception", None)
        about = " ".join(f"{name}={value}" for name, value in found.items())
        line = f"{_time(record)} {record.levelname:<7} {message}" + (f"  {about}" if about else "")
        return line if described is None else "\n  ".join([line, described["class"], *described["frames"]])


class StderrHandler(logging.StreamHandler[Any]):
    """Writes to what stderr is at the moment, where something else takes its place for a while."""

    def __init__(
        self, log_format: str, read: Callable[[logging.LogRecord], tuple[str, dict[str, Any]]] = read_record
    ) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(JsonFormatter(read) if wants_json(log_format) else TextFormatter(read))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


@functools.cache
def stderr_logger(name: str) -> logging.Logger:
    """Return a logger with a handler of its own, for code in a process whose logging somebody else configures."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # the process would print it once more, in its own form
    logger.addHandler(StderrHandler(wanted_format()))
    return logger


class _Forwarder(logging.Handler):
    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record.getMessage())


@contextmanager
def warnings_to(write: Callable[[str], object]) -> Generator[None]:
    """Also write what this package warns of during the block (requests tried again, for example)."""
    handler, logger = _Forwarder(write), logging.getLogger(_PACKAGE)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def wants_json(log_format: str) -> bool:
    """Return whether lines go out as JSON: ``json`` and ``text`` say so; else unless stderr is a terminal."""
    if log_format in {"json", "text"}:
        return log_format == "json"
    return not sys.stderr.isatty()


def wanted_format() -> str:
    """Return the format that the environment asks for, for processes that read no other settings."""
    return os.environ.get(f"{PREFIX}LOG_FORMAT", "auto")


def log_to_stderr() -> None:
    """Have all logs of a process that reads no other settings go to stderr."""
    logging.config.dictConfig(logging_config(wanted_format()))


class _OneShape(logging.config.DictConfigurator):
    """The configuration of this service, with the levels of the loggers that another one names."""

    def __init__(self, config: dict[str, Any]) -> None:
        named = config.get("loggers", {}).items()
        levels = {name: {"level": options["level"]} for name, options in named if "level" in options}
        ours = logging_config(wanted_format())
        super().__init__(ours | {"loggers": ours["loggers"] | levels})


def log_in_one_shape() -> None:
    """Have lines of this process, a program of somebody else's, in the form of ours, whatever configures its loggers.

    By itself it and the libraries that it works with have one each. What they ask `dictConfig` for is left out, but for
    the levels.
    """
    setattr(logging.config, "dictConfigClass", _OneShape)  # noqa: B010 documented, and missing in the type stubs


def logging_config(log_format: str = "auto", level: str = "INFO") -> dict[str, Any]:
    """Return the configuration (``logging.config.dictConfig``) of a process whose logs all go to stderr."""
    formatter = JsonFormatter if wants_json(log_format) else TextFormatter
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"ours": {"()": f"{__name__}.{formatter.__name__}"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {name: {"level": "WARNING"} for name in _TALKATIVE},
    }


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _describe(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    described: dict[str, Any] = {
        "class": f"{type(error).__module__}.{type(error).__qualname__}",
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    cause = error.__cause__ or error.__context__
    if cause is not None:
        described["cause"] = f"{type(cause).__module__}.{type(cause).__qualname__}"
    return described
