"""The correlation id of a request: in its answer, on its export, in every log line of both (`telemetry.context`)."""

from __future__ import annotations

import re
import uuid

HEADER = "X-Correlation-Id"
PATTERN = r"[A-Za-z0-9._-]{1,128}"

_ACCEPTED = re.compile(PATTERN)


def accept(header: str | None) -> str:
    """Give the caller's id when it has the form of 04, else a new one; so no byte of a bad header is ever sent back."""
    if header is not None and _ACCEPTED.fullmatch(header):
        return header
    return uuid.uuid4().hex
