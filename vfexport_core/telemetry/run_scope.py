"""For which run of an orchestrator a process works, which it has to itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from vfexport_core.telemetry import context, tracing

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def working_for(run_id: str, correlation_id: str) -> Generator[None]:
    """Have the log lines of this process carry the run's ids during the block, and send its spans when that ends."""
    context.bind(correlationId=correlation_id, runId=run_id)
    try:
        yield
    finally:
        context.unbind("correlationId", "runId")
        tracing.flush()
