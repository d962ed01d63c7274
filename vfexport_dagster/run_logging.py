"""Log lines of runs on stderr: as the API's, one JSON object each, unless stderr is a terminal.

What a run logs is in Dagster's own storage as well, where its UI shows it; this is what a collector of logs reads.
"""

from __future__ import annotations

import logging
from typing import Any

import dagster as dg

from vfexport_core.services.run_tags import log_fields
from vfexport_core.telemetry.logs import StderrHandler, wanted_format

LOGGER = "stderr"
"""The name of the runs' logger, as a job's configuration has it."""


def _read_record(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """Return the message of a record of Dagster's as it was given, and the run, the job and the step."""
    meta: dict[str, Any] = getattr(record, "dagster_meta", None) or {}
    about = log_fields(
        meta.get("job_tags") or {}, runId=meta.get("run_id"), job=meta.get("job_name"), step=meta.get("step_key")
    )
    return str(meta.get("orig_message") or record.getMessage()), about


def _run_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
    name = init_context.job_def.name if init_context.job_def else LOGGER
    logger = logging.Logger(name, logging.INFO)  # noqa: LOG001 not one that is kept: its handler goes with the run
    logger.addHandler(StderrHandler(wanted_format(), _read_record))
    return logger


run_logger = dg.LoggerDefinition(
    _run_logger, description="Lines on stderr: JSON, unless it is a terminal or VFEXPORT_LOG_FORMAT says otherwise."
)
"""The logger of a run, in the place of Dagster's coloured one."""
