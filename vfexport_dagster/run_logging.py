"""Log lines on stderr of runs and of sensors: as the API's, one JSON object each, unless stderr is a terminal.

What a run logs is in Dagster's own storage as well, where its UI shows it; this is what a collector of logs reads.
"""

from __future__ import annotations

import functools
import logging
import os
from typing import Any

import dagster as dg

from vfexport_core.settings import PREFIX
from vfexport_core.telemetry.logs import (
    FIELDS_KEY,
    JsonFormatter,
    StderrHandler,
    StructuredFormatter,
    TextFormatter,
    wants_json,
)
from vfexport_dagster import tags

LOGGER = "stderr"
"""The name of the runs' logger, as a job's configuration has it."""

_FORMAT = f"{PREFIX}LOG_FORMAT"
_SENSORS = "vfexport_dagster.sensors"


class _OfRun(StructuredFormatter):
    """Knows a record of Dagster's: its message as it was given, the run, the job and the step."""

    def message_of(self, record: logging.LogRecord) -> str:
        return str(_meta(record).get("orig_message") or super().message_of(record))

    def fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        meta = _meta(record)
        run_tags = meta.get("job_tags") or {}
        named = {
            "correlationId": run_tags.get(tags.CORRELATION_ID),
            "exportId": run_tags.get(tags.EXPORT_ID),
            "runId": meta.get("run_id"),
            "job": meta.get("job_name"),
            "step": meta.get("step_key"),
        }
        return {name: value for name, value in named.items() if value} | super().fields_of(record)


class RunJsonFormatter(_OfRun, JsonFormatter):
    pass


class RunTextFormatter(_OfRun, TextFormatter):
    pass


def _run_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
    name = init_context.job_def.name if init_context.job_def else LOGGER
    logger = logging.Logger(name, logging.INFO)  # noqa: LOG001 not one that is kept: its handler goes with the run
    logger.addHandler(StderrHandler(RunJsonFormatter() if _wants_json() else RunTextFormatter()))
    return logger


run_logger = dg.LoggerDefinition(
    _run_logger, description="Lines on stderr: JSON, unless it is a terminal or VFEXPORT_LOG_FORMAT says otherwise."
)
"""The logger of a run, in the place of Dagster's coloured one."""


@functools.cache
def sensor_log() -> logging.Logger:
    """Return the logger of the sensors, made when the first of them logs something."""
    logger = logging.getLogger(_SENSORS)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # Dagster's server would print it once more, in its own form
    logger.addHandler(StderrHandler(JsonFormatter() if _wants_json() else TextFormatter()))
    return logger


def log_export(text: str, correlation_id: str | None, export_id: str, **fields: str) -> None:
    """Log what a sensor does about an export, with the correlation id of its request."""
    about = {"correlationId": correlation_id, "exportId": export_id, **fields}
    sensor_log().info(text, extra={FIELDS_KEY: about})


def _wants_json() -> bool:
    return wants_json(os.environ.get(_FORMAT, "auto"))


def _meta(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "dagster_meta", None) or {}
