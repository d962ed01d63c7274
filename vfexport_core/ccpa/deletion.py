"""A deletion from its request to its completion, by whoever asked for it or by the service itself.

The record comes first, so that exports that are claimed from then on have no row of the user, and so that whatever
fails later is gone on with. Then the user's campaigns are found, their exports deleted, and the record is completed
when a look at each campaign finds nothing left. Every step may be repeated, by several workers at once.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.ccpa.finding import find_campaigns, find_campaigns_by_hash
from vfexport_core.ccpa.hashing import UserHasher, check_user_id
from vfexport_core.ccpa.records import Problem
from vfexport_core.ccpa.trying import Clock, Try
from vfexport_core.errors import DeleteFailed, VfexportError, error_document
from vfexport_core.mongo.collections import CLOCK_SKEW_SECONDS
from vfexport_core.queue.reaper import CLEANUP_GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.database import Database

    from vfexport_core.ccpa.finding import Sources
    from vfexport_core.ccpa.ledger import Ledger
    from vfexport_core.ccpa.records import Deletion
    from vfexport_core.ccpa.trying import Find
    from vfexport_core.queue.models import Document
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.settings import Settings
    from vfexport_core.storage.buckets import BucketClients

REQUEST_SECONDS = 25.0
"""How long a caller waits at most; then the service goes on by itself."""

_HEALING_WAIT_SECONDS = 3.0
_HEALING_SECONDS = 300.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """What came of taking open deletions up again: the records that are complete now, and those that are not yet."""

    completed: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletions:
    """Deletes users' exported data; safe to share between threads.

    A lost attempt whose worker does not say that it has ended counts as settled after `settle_seconds`. No two
    clocks of MongoDB are further apart than `skew_seconds`.
    """

    settings: Settings
    database: Database[Document]
    store: ExportRepository
    buckets: BucketClients
    ledger: Ledger
    settle_seconds: float = CLEANUP_GRACE_SECONDS
    skew_seconds: float = CLOCK_SKEW_SECONDS

    def delete_user(
        self, user_id: str, *, requested_by: str, correlation_id: str, seconds: float = REQUEST_SECONDS
    ) -> Deletion:
        """Delete what was exported of a user, and give the completed record.

        Raises InvalidRequest, HashKeyMissing, SourceUnavailable (nothing was recorded, or nobody knows: ask again),
        and DeleteFailed when it is recorded and not complete after `seconds`, or something failed.
        """
        key = check_user_id(user_id)
        hasher = UserHasher.from_settings(self.settings)
        record_id = self.ledger.open(hasher.hash(key), hasher.key_check, requested_by, correlation_id)
        deadline = time.monotonic() + seconds

        def find(_: Deletion, sources: Sources) -> list[str]:
            return find_campaigns(sources, key, self.store.removal.campaign_ids())

        record = self._try(record_id, find, seconds, wait_seconds=seconds)
        self._go_on_with_earlier_ones(record, find, deadline)
        return record

    def heal(self, *, seconds: float = _HEALING_SECONDS) -> Healed:
        """Take up the open records whose turn it is again, the oldest first. Raises SourceUnavailable."""
        deadline = time.monotonic() + seconds
        completed: list[str] = []
        left: list[str] = []
        for record in self.ledger.due():
            rest = deadline - time.monotonic()
            if rest <= 0:
                left.append(record.id)
                continue
            try:
                self._try(record.id, self._find_by_hash, rest, wait_seconds=_HEALING_WAIT_SECONDS)
                completed.append(record.id)
            except DeleteFailed as error:
                _log.warning("%s", error.message)
                left.append(record.id)
        return Healed(completed=tuple(completed), left=tuple(left))

    def _find_by_hash(self, record: Deletion, sources: Sources) -> list[str]:
        hasher = UserHasher.from_settings(self.settings)
        hasher.require(record.key_check)
        return find_campaigns_by_hash(
            sources,
            self.store.removal.campaign_ids(),
            lambda user: hasher.hash(user) == record.user_hash,
            record.search,
            lambda search: self.ledger.note_search(record, search),
        )

    def _go_on_with_earlier_ones(self, record: Deletion, find: Find, deadline: float) -> None:
        """Complete what earlier requests for the same user left open; the request at hand does not depend on it."""
        try:
            for other in self.ledger.open_ones(user_hash=record.user_hash):
                rest = deadline - time.monotonic()
                if rest > 0:
                    self._try(other.id, find, rest, wait_seconds=0)
        except VfexportError as error:
            _log.warning("%s", error.message)

    def _try(self, record_id: str, find: Find, seconds: float, *, wait_seconds: float) -> Deletion:
        """Try to complete a record, and leave it open with what went wrong; raises DeleteFailed."""
        try:
            record = self.ledger.begin(record_id)
        except VfexportError as error:
            raise _failed(record_id, [Problem.of(error)]) from error
        if record is None:
            raise DeleteFailed(f"deletion {record_id} is being worked on elsewhere", payload=record_id)
        with Clock(seconds) as clock:
            attempt = Try(self, record, clock, wait_seconds)
            try:
                attempt.run(find)
            except VfexportError as error:
                attempt.problems.append(Problem.of(error))
            except Exception as error:
                fields = error_document(error)
                self._leave(attempt.record, [*attempt.problems, Problem(str(fields["code"]), str(fields["message"]))])
                raise
            if attempt.problems:
                self._leave(attempt.record, attempt.problems)
                raise _failed(record_id, attempt.problems)
            return attempt.record

    def _leave(self, record: Deletion, problems: Sequence[Problem]) -> None:
        for problem in problems:
            _log.warning("CCPA deletion %s: %s: %s", record.id, problem.code, problem.message)
        try:
            self.ledger.leave(record, problems)
        except VfexportError as error:
            # The record is open all the same, and is taken up again when its lease is over.
            _log.warning("CCPA deletion %s: %s: %s", record.id, error.code, error.message)


def _failed(record_id: str, problems: Sequence[Problem]) -> DeleteFailed:
    codes = ", ".join(dict.fromkeys(problem.code for problem in problems))
    return DeleteFailed(f"deletion {record_id} is not complete yet ({codes})", payload=record_id)
