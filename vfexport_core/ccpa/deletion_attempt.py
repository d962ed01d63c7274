"""One attempt at one deletion: find the campaigns, sweep each until nothing is left, complete the record."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from vfexport_core.ccpa.records import Problem
from vfexport_core.ccpa.repository import LEASE_SECONDS
from vfexport_core.ccpa.search import Sources
from vfexport_core.ccpa.sweep import CAMPAIGNS_AT_ONCE, Sweeper
from vfexport_core.errors import ConfigurationError, DeleteFailed
from vfexport_core.mongo.own_collections import CLOCK_SKEW_SECONDS
from vfexport_core.queue.reaper import CLEANUP_GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from pymongo.database import Database

    from vfexport_core.ccpa.file_index import FileIndex
    from vfexport_core.ccpa.person_keys import People
    from vfexport_core.ccpa.records import Deletion
    from vfexport_core.ccpa.repository import DeletionRepository
    from vfexport_core.ccpa.sweep import SweepResult
    from vfexport_core.mongo.document import Document
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.settings import Settings
    from vfexport_core.storage.buckets import BucketClients


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The campaigns in which a record's user is, and the keys by which the index of the files knows the user."""

    campaigns: tuple[str, ...]
    people: People


Find: TypeAlias = "Callable[[Deletion, Sources], Whereabouts]"
"""Finds a record's user; raises SourceUnavailable."""

_PAUSE_SECONDS = 0.2
_SHOWN_EXPORTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionTools:
    """What deletions are made with; safe to share between threads.

    A lost attempt of an export whose worker does not say that it has ended counts as drained after `grace_seconds`. No
    two clocks of MongoDB are further apart than `skew_seconds`.
    """

    settings: Settings
    database: Database[Document]
    queue: ExportRepository
    buckets: BucketClients
    deletions: DeletionRepository
    file_index: FileIndex
    grace_seconds: float = CLEANUP_GRACE_SECONDS
    skew_seconds: float = CLOCK_SKEW_SECONDS


class Clock:
    """The time of one attempt; `over` is set when it has run out, so that nothing more is sent to S3."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds
        self.over = threading.Event()
        self._timer = threading.Timer(seconds, self.over.set)
        self._timer.daemon = True

    def check(self) -> None:
        """Raise DeleteFailed when the time has run out."""
        if time.monotonic() >= self._deadline:
            raise DeleteFailed(f"not complete after {self._seconds:.0f} s: there is more to delete")

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


@dataclass(slots=True)
class DeletionAttempt:
    """One attempt at `record`, which its worker holds; `problems` is what kept it from completing.

    Exports that a lost worker may still deliver are waited for until `wait_seconds` have gone by.
    """

    tools: DeletionTools
    record: Deletion
    clock: Clock
    wait_seconds: float
    problems: list[Problem] = field(default_factory=list[Problem])
    _began: float = field(default_factory=time.monotonic)
    _renewed: float = field(default_factory=time.monotonic)

    def run(self, find: Find) -> None:
        """Do it, and complete the record unless there are problems; raises what ends it early."""
        tools = self.tools
        if self.record.campaigns is None:
            found = find(self.record, Sources(tools.database, tools.settings.deletion_lookup_batch, self._alive))
            tools.deletions.set_campaigns(self.record, found.campaigns, found.people)
            self.record = replace(self.record, campaigns=found.campaigns, people=found.people)
        self._check_keys()
        sweeper = Sweeper(
            self.record,
            deletions=tools.deletions,
            queue=tools.queue,
            buckets=tools.buckets,
            file_index=tools.file_index,
            stop=self.clock.over,
            grace_seconds=tools.grace_seconds,
            skew_seconds=tools.skew_seconds,
        )
        undrained = self._sweep(sweeper, list(self.record.campaigns or ()))
        self.problems += sweeper.problems
        if undrained:
            exports = ", ".join(undrained[:_SHOWN_EXPORTS])
            message = f"lost attempts of {len(undrained)} exports may still deliver their files: {exports}"
            self.problems.append(Problem(DeleteFailed.code, message))
        if not self.problems:
            self.record = tools.deletions.complete(self.record)

    def _check_keys(self) -> None:
        """Note a problem when the indexes of some files cannot be read with the keys that the user is known by."""
        unknown = self.tools.file_index.key_checks() - self.record.people.keys()
        if self.record.people and unknown:
            message = (
                f"files are indexed under {len(unknown)} other CCPA_HASH_KEYs: set VFEXPORT_CCPA_PREVIOUS_HASH_KEYS, "
                "and request the deletion again"
            )
            self.problems.append(Problem(ConfigurationError.code, message))

    def _sweep(self, sweeper: Sweeper, campaigns: list[str]) -> list[str]:
        """Sweep the campaigns until nothing is left, or something failed; return the exports that are not drained."""
        while campaigns:
            changing: set[str] = set()
            waiting: dict[str, str] = {}
            for start in range(0, len(campaigns), CAMPAIGNS_AT_ONCE):
                for result in self._results(sweeper, campaigns[start : start + CAMPAIGNS_AT_ONCE]):
                    changing |= result.changing
                    waiting |= {export.id: export.campaign_id for export in result.undrained}
            is_over = time.monotonic() >= self._began + self.wait_seconds
            if sweeper.problems or (not changing and is_over):
                return list(waiting)
            if not changing and waiting:
                time.sleep(_PAUSE_SECONDS)
            campaigns = sorted(changing.union(waiting.values()))
        return []

    def _results(self, sweeper: Sweeper, campaigns: Sequence[str]) -> Iterator[SweepResult]:
        self._alive()
        for result in sweeper.sweep(campaigns):
            yield result
            self._alive()

    def _alive(self) -> None:
        self.clock.check()
        if time.monotonic() - self._renewed > LEASE_SECONDS / 4:
            self.tools.deletions.renew(self.record)
            self._renewed = time.monotonic()
