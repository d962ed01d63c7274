"""The correlation id of a request: in its answer, on its export, in every log line of both (`telemetry.context`)."""

from __future__ import annotations

import re
import uuid

from vfexport_core.telemetry import context

HEADER = "X-Correlation-Id"
PATTERN = r"[A-Za-z0-9._-]{1,128}"

_ACCEPTED = re.compile(PATTERN)


def accept(header: str | None) -> str:
    """Return the caller's id when it has the documented form, else a new one: no byte of a bad header is sent back."""
    if header is not None and _ACCEPTED.fullmatch(header):
        return header
    return uuid.uuid4().hex


def current() -> str:
    """Return the id of the request at hand."""
    return context.correlation_id() or accept(None)
