"""What this code works for, told by every log line: the request (per task or thread) and the export (per process).

A request has a context of its own, which the threads that work for it inherit. A process that runs an export runs no
other (L2) and has threads that inherit nothing, so what it works for holds for all of it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CORRELATION_ID = "correlationId"

_of_task: ContextVar[Mapping[str, str] | None] = ContextVar("vfexport_context", default=None)
_of_process: dict[str, str] = {}


def enter(**fields: str) -> None:
    """Let the current task or thread, and those that inherit from it, work for this, and nothing else."""
    _of_task.set(fields)


def bind(**fields: str) -> None:
    """Let the whole process work for this, too, until it is unbound."""
    _of_process.update(fields)


def unbind(*names: str) -> None:
    """End what was bound under these names."""
    for name in names:
        _of_process.pop(name, None)


def fields() -> dict[str, str]:
    """Return all that this code works for, by the names that log lines have for it."""
    return {**_of_process, **(_of_task.get() or {})}


def correlation_id() -> str | None:
    """Return the correlation id of what this code works for; None when there is none."""
    return fields().get(CORRELATION_ID)
