"""A run's events on their way into Dagster's storage, which may be away: they wait for it, and the export does not.

Without this, an event that cannot be written ends the run, and with it an export that lacks nothing. Leans on Dagster
handing every event of a run to its instance's `handle_new_event` (a test looks).
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from vfexport_core.telemetry.backlog import Backlog
from vfexport_dagster.startup.known import SWITCH, is_wanted

_ENDS = frozenset({dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED})


def outlast_outages(instance: dg.DagsterInstance) -> None:
    """Have this process, a run, go on while the storage of its instance is away; harmless to repeat.

    Not where it is switched off, nor with an unknown Dagster: then an outage ends the run, and its export with it.
    Of very many events that wait, log lines are left out; what says how far the run is, never. Its end is waited for.
    """
    if "handle_new_event" in vars(instance) or not is_wanted(SWITCH):
        return
    write = instance.handle_new_event
    backlog = Backlog[tuple[dg.EventLogEntry, Any]](
        "Dagster's storage", lambda item: write(item[0], batch_metadata=item[1])
    )

    def handle(event: dg.EventLogEntry, *, batch_metadata: Any = None) -> None:
        is_end = event.dagster_event is not None and event.dagster_event.event_type in _ENDS
        backlog.put((event, batch_metadata), is_needed=event.is_dagster_event, is_last=is_end)

    setattr(instance, "handle_new_event", handle)  # noqa: B010 of this one alone
