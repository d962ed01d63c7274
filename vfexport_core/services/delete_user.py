"""Delete what was exported of a user, for whoever asks, and take up again what could not be completed at once.

The record comes first, so that exports that are claimed from then on have no row of the user, and so that whatever
fails later is gone on with. Then the user's campaigns are found, their exports deleted, and the record is completed
when a sweep over each campaign finds nothing left. Every step may be repeated, by several workers at once.

A request for a user whose deletion is open joins it: one of those who ask does the work for all who have asked before
it begins, the others wait for what comes of it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from vfexport_core.ccpa.deletion_attempt import Clock, DeletionAttempt, Whereabouts
from vfexport_core.ccpa.hashing import UserHasher, check_user_id
from vfexport_core.ccpa.person_keys import people_of
from vfexport_core.ccpa.records import Problem
from vfexport_core.ccpa.search import find_person, find_person_by_hash
from vfexport_core.errors import DeleteFailed, VfexportError, error_document
from vfexport_core.mongo.retry import CALLER_LIMITS
from vfexport_core.queue.audit import Actor, AuditAction, AuditLog
from vfexport_core.services.orchestrator_runs import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vfexport_core.ccpa.deletion_attempt import DeletionTools, Find
    from vfexport_core.ccpa.person_keys import People
    from vfexport_core.ccpa.records import Deletion
    from vfexport_core.ccpa.repository import DeletionRepository, JoinedDeletion
    from vfexport_core.ccpa.search import Found, Sources
    from vfexport_core.services.orchestrator_runs import Run
    from vfexport_core.services.reconcile_runs import Sightings

_LOOK_BACK = timedelta(days=1)
REQUEST_SECONDS = 25.0
"""How long a caller waits at most; then the service goes on by itself."""

DEAD_SECONDS = 120.0
"""A run that has begun and holds no deletion for so long has lost its process."""

_RESUMED_WAIT_SECONDS = 3.0
_RESUMED_SECONDS = 300.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0

_log = logging.getLogger(__name__)


def delete_user(tools: DeletionTools, user_id: str, *, by: Actor, seconds: float = REQUEST_SECONDS) -> Deletion:
    """Delete what was exported of a user, and return the record, with the request fulfilled.

    Raises InvalidRequest, HashKeyMissing, SourceUnavailable (nothing was recorded, or nobody knows: ask again), and
    DeleteFailed when it is recorded and not complete after `seconds`, or something failed.
    """
    key = check_user_id(user_id)
    hasher = UserHasher.from_settings(tools.settings)
    people = people_of(tools.settings, key)
    joined = tools.deletions.request(hasher.hash(key), hasher.key_check, people, by.subject, by.correlation_id)

    def find(_: Deletion, sources: Sources) -> Whereabouts:
        found = find_person(sources, key, tools.queue.removal.campaign_ids())
        return _whereabouts(tools, found, people_of(tools.settings, key, found.members))

    deadline = time.monotonic() + seconds
    pending = PendingJoin(tools.deletions, joined)
    try:
        AuditLog(tools.database, CALLER_LIMITS, days=tools.settings.audit_days).note(
            by, AuditAction.DELETE_USER, joined.record_id
        )
        while not pending.wait(deadline):
            rest = deadline - time.monotonic()
            record = _try(tools, joined.record_id, find, rest, wait_seconds=rest)
            if record is not None and record.fulfilled >= joined.number:
                return record
        return tools.deletions.get(joined.record_id)
    except DeleteFailed:
        raise
    except VfexportError as error:  # it is recorded all the same
        raise _failed(joined.record_id, [Problem.of(error)]) from error


class PendingJoin:
    """A request that waits for the worker of the record that it has joined."""

    def __init__(self, deletions: DeletionRepository, joined: JoinedDeletion) -> None:
        self._deletions = deletions
        self._joined = joined
        self._awaited: int | None = None
        """Which try at the record is for this request too."""

    def wait(self, deadline: float) -> bool:
        """Wait until the request is fulfilled (True), or nobody works on the record.

        Raises DeleteFailed when the try that was for this request has failed, or at the deadline; SourceUnavailable.
        """
        record_id, number = self._joined
        pause = _FIRST_PAUSE_SECONDS
        while True:
            record, is_leased = self._deletions.look(record_id)
            if record.is_complete or record.fulfilled >= number:
                return True
            if not is_leased:
                if self._awaited == record.tries and record.lease_until is None:
                    raise DeleteFailed(
                        f"deletion {record_id} is not complete yet: its worker failed", payload=record_id
                    )
                return False
            if record.covers is not None and record.covers >= number:
                self._awaited = record.tries
            if time.monotonic() + pause >= deadline:
                raise DeleteFailed(f"deletion {record_id} is being worked on elsewhere", payload=record_id)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What came of taking open deletions up again: the records that are complete now, and those that are not yet.

    `reasons` say of those that failed which ones and why.
    """

    completed: tuple[str, ...]
    left: tuple[str, ...]
    reasons: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise DeleteFailed when some are left, saying what is in the way."""
        if self.left:
            in_the_way = "; ".join(self.reasons) or "there was no time for them"
            raise DeleteFailed(f"{len(self.left)} deletions are still open, and tried again later: {in_the_way}")


class ResumingRuns(Protocol):
    """What runs `resume_deletions`, in an orchestrator."""

    def resuming_run(self) -> Run | None:
        """Return a run that is to resume deletions and has not ended; None when there is none."""
        ...

    def report_lost(self, run: Run, why: str) -> None:
        """Record a run that has begun as failed; its process is told nothing."""
        ...


def why_no_run(deletions: DeletionRepository, runs: ResumingRuns, seen: Sightings) -> str | None:
    """Return why no run has to resume deletions now; None when one is to be started.

    One that has lost its process is reported so first: its place in the queue is needed. Raises SourceUnavailable.
    """
    due = deletions.due()
    if not due:
        return "no open deletion whose turn it is"
    run = runs.resuming_run()
    if run is None:
        return None
    is_dead = run.state is RunState.BEGUN and seen.lasted(run.run_id) > DEAD_SECONDS
    if not is_dead or deletions.somebody_is_at_work():
        return f"{len(due)} open deletions: run {run.run_id} is for them"
    runs.report_lost(run, "it holds no deletion, so its process is gone")
    return None


def newly_completed(deletions: DeletionRepository, cursor: str | None) -> Iterator[tuple[str, Deletion]]:
    """Yield the deletions that were completed behind a cursor, earliest first, each with the cursor behind it.

    Without one, those of the last day. Raises SourceUnavailable.
    """
    since = datetime.fromisoformat(cursor) if cursor else datetime.now(UTC) - _LOOK_BACK
    for moment, record in deletions.completed_since(since):
        yield moment.isoformat(), record


def resume_deletions(tools: DeletionTools, *, seconds: float = _RESUMED_SECONDS) -> Resumed:
    """Take up the open records whose turn it is again, the oldest first. Raises SourceUnavailable."""
    deadline = time.monotonic() + seconds
    completed: list[str] = []
    left: list[str] = []
    reasons: list[str] = []

    def find(record: Deletion, sources: Sources) -> Whereabouts:
        return _find_by_hash(tools, record, sources)

    for record in tools.deletions.due():
        rest = deadline - time.monotonic()
        if rest <= 0:
            left.append(record.id)
            continue
        try:
            done = _try(tools, record.id, find, rest, wait_seconds=_RESUMED_WAIT_SECONDS)
        except DeleteFailed as error:
            _log.warning("%s", error.message)
            reasons.append(error.message)
            done = None
        (completed if done is not None and done.is_complete else left).append(record.id)
    return Resumed(completed=tuple(completed), left=tuple(left), reasons=tuple(reasons))


def _find_by_hash(tools: DeletionTools, record: Deletion, sources: Sources) -> Whereabouts:
    hasher = UserHasher.from_settings(tools.settings)
    hasher.require(record.key_check)
    found, user_id = find_person_by_hash(
        sources,
        tools.queue.removal.campaign_ids(),
        lambda user: hasher.hash(user) == record.user_hash,
        record.search,
        lambda search: tools.deletions.note_search(record, search),
    )
    people = record.people if user_id is None else people_of(tools.settings, user_id, found.members)
    return _whereabouts(tools, found, people)


def _whereabouts(tools: DeletionTools, found: Found, people: People) -> Whereabouts:
    """Add what the index of the files says to what the sources say: the user may be in a file and nowhere else."""
    in_files = {hit.campaign_id for hit in tools.file_index.files_holding(people)}
    return Whereabouts(tuple(sorted(found.campaigns | in_files)), people)


def _try(tools: DeletionTools, record_id: str, find: Find, seconds: float, *, wait_seconds: float) -> Deletion | None:
    """Try to complete a record, and leave it open with what went wrong; None when another worker has taken it.

    Raises DeleteFailed.
    """
    try:
        record = tools.deletions.begin(record_id)
    except VfexportError as error:
        raise _failed(record_id, [Problem.of(error)]) from error
    if record is None:
        return None
    with Clock(seconds) as clock:
        attempt = DeletionAttempt(tools, record, clock, wait_seconds)
        try:
            attempt.run(find)
        except VfexportError as error:
            attempt.problems.append(Problem.of(error))
        except Exception as error:
            fields = error_document(error)
            problem = Problem(str(fields["code"]), str(fields["message"]))
            _leave(tools.deletions, attempt.record, [*attempt.problems, problem])
            raise
        if attempt.problems:
            _leave(tools.deletions, attempt.record, attempt.problems)
            raise _failed(record_id, attempt.problems)
        return attempt.record


def _leave(deletions: DeletionRepository, record: Deletion, problems: Sequence[Problem]) -> None:
    for problem in problems:
        _log.warning("CCPA deletion %s: %s: %s", record.id, problem.code, problem.message)
    try:
        deletions.leave(record, problems)
    except VfexportError as error:
        # The record is open all the same, and is taken up again when its lease is over.
        _log.warning("CCPA deletion %s: %s: %s", record.id, error.code, error.message)


def _failed(record_id: str, problems: Sequence[Problem]) -> DeleteFailed:
    codes = ", ".join(dict.fromkeys(problem.code for problem in problems))
    return DeleteFailed(f"deletion {record_id} is not complete yet ({codes})", payload=record_id)
