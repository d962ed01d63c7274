"""One try of one deletion: find the campaigns, look at each until nothing is left, complete the record."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from vfexport_core.ccpa.erasing import CAMPAIGNS_AT_ONCE, Eraser
from vfexport_core.ccpa.finding import Sources
from vfexport_core.ccpa.ledger import LEASE_SECONDS
from vfexport_core.ccpa.records import Problem
from vfexport_core.errors import DeleteFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from vfexport_core.ccpa.deletion import Deletions
    from vfexport_core.ccpa.erasing import Look
    from vfexport_core.ccpa.records import Deletion

Find: TypeAlias = "Callable[[Deletion, Sources], list[str]]"
"""Gives the campaigns in which a record's user is."""

_PAUSE_SECONDS = 0.2
_SHOWN_EXPORTS = 5


class Clock:
    """The time of one try; `over` is set when it has run out, so that nothing more is sent to S3."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds
        self.over = threading.Event()
        self._timer = threading.Timer(seconds, self.over.set)
        self._timer.daemon = True

    def check(self) -> None:
        if time.monotonic() >= self._deadline:
            raise DeleteFailed(f"not complete after {self._seconds:.0f} s: there is more to delete")

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


class Try:
    """One try of one deletion; `problems` is what kept it from completing."""

    def __init__(self, means: Deletions, record: Deletion, clock: Clock, wait_seconds: float) -> None:
        self._means = means
        self._clock = clock
        self._wait_until = time.monotonic() + wait_seconds
        self._renewed = time.monotonic()
        self.record = record
        self.problems: list[Problem] = []

    def run(self, find: Find) -> None:
        """Do it; raises what ends it early."""
        means = self._means
        if self.record.campaigns is None:
            campaigns = find(self.record, Sources(means.database, means.settings.lookup_batch, self._alive))
            means.ledger.set_campaigns(self.record, campaigns)
            self.record = replace(self.record, campaigns=tuple(campaigns))
        eraser = Eraser(
            self.record,
            ledger=means.ledger,
            store=means.store,
            buckets=means.buckets,
            stop=self._clock.over,
            settle_seconds=means.settle_seconds,
            skew_seconds=means.skew_seconds,
        )
        unsettled = self._erase(eraser, list(self.record.campaigns or ()))
        self.problems += eraser.problems
        if unsettled:
            exports = ", ".join(unsettled[:_SHOWN_EXPORTS])
            message = f"lost attempts of {len(unsettled)} exports may still deliver their files: {exports}"
            self.problems.append(Problem(DeleteFailed.code, message))
        if not self.problems:
            self.record = means.ledger.complete(self.record)

    def _erase(self, eraser: Eraser, campaigns: list[str]) -> list[str]:
        """Look at the campaigns until nothing is left, or something failed; gives the exports not yet settled."""
        while campaigns:
            changing: set[str] = set()
            waiting: dict[str, str] = {}
            for start in range(0, len(campaigns), CAMPAIGNS_AT_ONCE):
                for look in self._looks(eraser, campaigns[start : start + CAMPAIGNS_AT_ONCE]):
                    changing |= look.changing
                    waiting |= {export.id: export.campaign_id for export in look.unsettled}
            if eraser.problems or (not changing and time.monotonic() >= self._wait_until):
                return list(waiting)
            if not changing and waiting:
                time.sleep(_PAUSE_SECONDS)
            campaigns = sorted(changing.union(waiting.values()))
        return []

    def _looks(self, eraser: Eraser, campaigns: Sequence[str]) -> Iterator[Look]:
        self._alive()
        for look in eraser.look(campaigns):
            yield look
            self._alive()

    def _alive(self) -> None:
        self._clock.check()
        if time.monotonic() - self._renewed > LEASE_SECONDS / 4:
            self._means.ledger.renew(self.record)
            self._renewed = time.monotonic()
