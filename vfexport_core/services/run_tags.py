"""The tags of an orchestrator's run, by which it is found: what it works on and what became of it.

Short, since they are shown in the list of runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

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

PROCESS = "process"
"""Of a run that exports nothing: the process in which it works, behind the run's id, for tags may be copied."""

WITHDRAWN = "withdrawn"
"""Of a run that was not to begin, or stepped back, without fault of its own or its export's."""

CLOCK_SKEW_SECONDS = 900.0
"""How far the clocks of a run and of the orchestrator may be apart: it subtracts the one from the other."""
_ENDING_SECONDS = 100.0
"""How long a run whose time is up may need to end (a grace period, and draining)."""

_NAME_LENGTH = 60

LAST_PRIORITY = -(10**15)
"""The priority of a run that has no export yet: whatever it will queue is younger than all that wait."""


def priority_of(moment: datetime) -> int:
    """Return the priority of a run by when its export was requested: the older, the higher.

    A later attempt gets its old place in the orchestrator's queue again (L2).
    """
    return -round(moment.timestamp() * 1000)


def run_key(export: Export, ended_runs: int = 0) -> str:
    """Return the key by which a run request is known again, for ever: one per export and attempt.

    And a new one after each of its runs that ended before it claimed the export.
    """
    return f"{export.id}:{export.attempt}" + (f":{ended_runs}" if ended_runs else "")


def longest_run(seconds: float) -> float:
    """Return after how many seconds an orchestrator may end a run whose export may take `seconds`.

    That an export takes too long is decided by MongoDB's clock, and by its worker; this is for a run that neither ends.
    """
    return seconds + _ENDING_SECONDS + CLOCK_SKEW_SECONDS


def export_tags(export: Export) -> dict[str, str]:
    """Return the tags of a run that works on this export."""
    return {
        EXPORT_ID: export.id,
        CAMPAIGN_ID: export.campaign_id,
        CAMPAIGN: export.campaign_name[:_NAME_LENGTH],
        ATTEMPT: str(export.attempt),
        CORRELATION_ID: export.correlation_id,
    }


def number_in(tags: Mapping[str, str], name: str) -> int | None:
    """Return the number that a tag holds; None if it holds none."""
    value = tags.get(name, "")
    return int(value) if value.isdecimal() else None


@dataclass(frozen=True, slots=True)
class RunTags:
    """A run's tags, and the configuration that it was launched with."""

    run_id: str
    tags: Mapping[str, str]
    config: Mapping[str, Any]
    is_reexecution: bool

    @property
    def export_id(self) -> str:
        """The export that the run is for; "" while it has none."""
        return self.tags.get(EXPORT_ID, "")

    @property
    def requested_attempt(self) -> int | None:
        """The attempt that the run was requested for; None if a person started it and it has no place yet."""
        return None if self.is_reexecution or self.is_launched else number_in(self.tags, ATTEMPT)

    @property
    def process(self) -> str | None:
        """The process in which a run works that exports nothing, "" where the tag was copied; None for other runs."""
        noted = self.tags.get(PROCESS)
        return noted if noted is None or noted.startswith(f"{self.run_id}:") else ""

    @property
    def is_launched(self) -> bool:
        """Whether a person launched the run, and it was not given its place in the queue.

        The tags of ours that it may have were copied, from another run.
        """
        is_requested = ATTEMPT in self.tags and not self.config.get("campaign_id")
        return not (self.is_reexecution or is_requested or self.is_placed)

    @property
    def is_placed(self) -> bool:
        """Whether a person launched the run, and it was given its place in the queue (`placed`)."""
        return self.tags.get(CORRELATION_ID) == self.run_id

    @property
    def placed_export_id(self) -> str | None:
        """The export in whose place a run waited that a person launched; None for any other run."""
        return self.export_id or None if self.is_placed else None

    def placed(self, export: Export | None) -> dict[str, str]:
        """Return the tags that give a launched run its place: it is its own correlation id."""
        copied = {name: "" for name in (EXPORT_ID, ATTEMPT) if name in self.tags}
        return (copied if export is None else export_tags(export)) | {CORRELATION_ID: self.run_id}


def log_fields(tags: Mapping[str, str], **others: str | None) -> dict[str, str]:
    """Return what a log line of a run says that it is about: what is known of its tags, and of the others."""
    known = {"correlationId": tags.get(CORRELATION_ID), "exportId": tags.get(EXPORT_ID)} | others
    return {name: value for name, value in known.items() if value}
