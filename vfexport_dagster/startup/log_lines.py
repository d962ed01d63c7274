"""Dagster's own programs, and the server of its UI, with log lines in the form of `vfexport_core.telemetry.logs`.

By themselves they write another shape of JSON, and what other libraries log as plain text.
"""

from __future__ import annotations

import logging
import logging.config
import os
import sys
from typing import Any

import uvicorn.config
from dagster._utils import log as dagster_log

from vfexport_core.settings import PREFIX
from vfexport_core.telemetry.logs import logging_config

_NAMES = ("dagster", "dagit", "dagster-webserver")


def log_in_one_shape() -> None:
    """Have this process, one of Dagster's programs, configure its loggers as this service does."""
    configure = dagster_log.configure_loggers

    def configure_as_ours(handler: str = "default", formatter: str = "json", log_level: str | int = "INFO") -> None:
        configure(handler, formatter, log_level)
        for name in _NAMES:
            logging.getLogger(name).handlers.clear()
        logging.config.dictConfig(_config())
        logging.captureWarnings(capture=True)

    # Each program asks for it when it starts, by this name in a module of its own, which may be there already.
    for name, module in [*sys.modules.items()]:
        if name.startswith("dagster") and vars(module).get(configure.__name__) is configure:
            setattr(module, configure.__name__, configure_as_ours)
    uvicorn.config.LOGGING_CONFIG.clear()
    # Whoever looks at the UI is not worth a line.
    uvicorn.config.LOGGING_CONFIG.update(_config() | {"loggers": {"uvicorn.access": {"level": "WARNING"}}})


def _config() -> dict[str, Any]:
    return logging_config(os.environ.get(f"{PREFIX}LOG_FORMAT", "auto"))
