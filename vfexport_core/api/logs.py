"""Structured logs: one JSON object per line, each with the correlation id; no token, no fan data, no user ids.

An exception is logged by its class and its frames only, since messages tend to quote the data they stumbled over.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any

from vfexport_core.api import correlation

FIELDS_KEY = "fields"
"""``extra={FIELDS_KEY: {...}}`` puts these members into the line."""

_FRAMES = 20


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, correlationId, fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (correlation_id := correlation.current()) is not None:
            line["correlationId"] = correlation_id
        line |= getattr(record, FIELDS_KEY, {})
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _describe(record.exc_info[1])
        return json.dumps(line, default=str)


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


def logging_config(level: str = "INFO") -> dict[str, Any]:
    """Give the configuration (``logging.config.dictConfig``) of an API process: everything as JSON to stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": f"{__name__}.{JsonFormatter.__name__}"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        # The driver logs whole commands, and with them data, below WARNING.
        "loggers": {name: {"level": "WARNING"} for name in ("pymongo", "botocore", "boto3", "urllib3")},
    }
