"""The tags by which a run is found, queued and timed out. Short, for the list of runs shows them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    import dagster as dg

    from vfexport_core.queue.models import Export

EXPORT_ID = "export_id"
CAMPAIGN_ID = "campaign_id"
CAMPAIGN = "campaign"
"""The campaign's name."""

ATTEMPT = "attempt"
CORRELATION_ID = "correlation_id"
ERROR = "error"
"""The code of the error that a run ended with."""

SUPERSEDED = "superseded"
"""Of the run of an earlier attempt: there is nothing to do about it any more."""

LOST = "lost"
"""Of a run that was reported as failed because its process is gone."""

WITHDRAWN = "withdrawn"
"""Of a run that was not to begin, or stepped back, without fault of its own or its export's."""

# Dagster's own.
MAX_RUNTIME = "dagster/max_runtime"
PRIORITY = "dagster/priority"
RUN_KEY = "dagster/run_key"

CLOCK_SKEW_SECONDS = 900.0
"""How far the clocks of a run and of Dagster's daemon may be apart: it subtracts the one from the other."""
_ENDING_SECONDS = 100.0
"""How long a run whose time is up may need to end (a grace period, and draining)."""

_NAME_LENGTH = 60

LAST = str(-(10**15))
"""The priority of a run that has no export yet: whatever it will queue is younger than all that wait."""


def run_key(export: Export, ended_runs: int = 0) -> str:
    """Return the key by which Dagster knows a run request again, for ever: one per export and attempt.

    And a new one after each of its runs that ended before it claimed the export.
    """
    return f"{export.id}:{export.attempt}" + (f":{ended_runs}" if ended_runs else "")


def longest_run(seconds: float) -> float:
    """Return after how many seconds Dagster may end a run whose export may take `seconds`.

    That an export takes too long is decided by MongoDB's clock, and by its worker; this is for a run that neither ends.
    """
    return seconds + _ENDING_SECONDS + CLOCK_SKEW_SECONDS


def export_tags(export: Export, max_runtime_seconds: float) -> dict[str, str]:
    """Return the tags of a run that works on this export.

    The older the export, the higher its priority: a later attempt gets its old place in Dagster's queue again (L2).
    """
    return {
        EXPORT_ID: export.id,
        CAMPAIGN_ID: export.campaign_id,
        CAMPAIGN: export.campaign_name[:_NAME_LENGTH],
        ATTEMPT: str(export.attempt),
        CORRELATION_ID: export.correlation_id,
        MAX_RUNTIME: str(math.ceil(max_runtime_seconds)),
        PRIORITY: _priority(export.date.created),
    }


def requested_attempt(run: dg.DagsterRun) -> int | None:
    """Return the attempt that a run was requested for; None for one that a person started and that has no place yet."""
    return None if run.parent_run_id is not None or is_launched(run) else _number(run, ATTEMPT)


def is_launched(run: dg.DagsterRun) -> bool:
    """Return whether a person launched a run that was not given its place in the queue.

    The tags of ours that it may have were copied in the launchpad, from another run.
    """
    is_requested = ATTEMPT in run.tags and not run.run_config.get("campaign_id")
    return run.parent_run_id is None and not is_requested and not is_placed(run)


def is_placed(run: dg.DagsterRun) -> bool:
    """Return whether a run that a person launched was given its place in the queue (`placed_tags`)."""
    return run.tags.get(CORRELATION_ID) == run.run_id


def placed_tags(run: dg.DagsterRun, asked: datetime | None, export: Export | None, seconds: float) -> dict[str, str]:
    """Return the tags that give a launched run its place: it is its own correlation id."""
    if export is not None:
        return export_tags(export, longest_run(seconds)) | {CORRELATION_ID: run.run_id}
    copied = {name: "" for name in (EXPORT_ID, ATTEMPT) if name in run.tags}
    return copied | {CORRELATION_ID: run.run_id} | ({} if asked is None else {PRIORITY: _priority(asked)})


def max_runtime(run: dg.DagsterRun) -> int | None:
    """Return how long a run may take, in seconds; None if its tag does not say."""
    return _number(run, MAX_RUNTIME)


def _priority(moment: datetime) -> str:
    return str(-round(moment.timestamp() * 1000))


def _number(run: dg.DagsterRun, tag: str) -> int | None:
    value = run.tags.get(tag, "")
    return int(value) if value.isdecimal() else None
