"""The correlation id of the request being answered: one per request, in the answer, the export and every log line."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar

HEADER = "X-Correlation-Id"
PATTERN = r"[A-Za-z0-9._-]{1,128}"

_ACCEPTED = re.compile(PATTERN)
_current: ContextVar[str | None] = ContextVar("vfexport_correlation_id", default=None)


def accept(header: str | None) -> str:
    """Give the caller's id when it has the form of 04, else a new one; so no byte of a bad header is ever sent back."""
    if header is not None and _ACCEPTED.fullmatch(header):
        return header
    return uuid.uuid4().hex


def current() -> str | None:
    """Give the id of the request that this code runs for; None outside of one."""
    return _current.get()


def enter(correlation_id: str) -> None:
    """Make this the id of the current context; threads that work for the request inherit it."""
    _current.set(correlation_id)
