"""Where the small values that one op hands to the next are kept: in the run's own memory."""

from __future__ import annotations

from typing import Any

import dagster as dg


class RunMemory(dg.IOManager):
    """Keeps outputs for the steps of the same run, and of no other.

    What crosses ops is the claim and what was delivered: worthless to another run, which has to claim for itself. So
    nothing is written to disk, and no two machines need to share one.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, ...], Any] = {}

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self._values[tuple(context.get_identifier())] = obj

    def load_input(self, context: dg.InputContext) -> Any:
        """Give what the op before put here; None when that was another run (re-executed from a failure)."""
        upstream = context.upstream_output
        return self._values.get(tuple(upstream.get_identifier()) if upstream else ())


@dg.io_manager(description="Keeps the claim and the result of a run in its memory; nothing is stored.")
def run_memory() -> RunMemory:
    """Make the memory of one run."""
    return RunMemory()
