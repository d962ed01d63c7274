"""Everything that ever happened to the exports of one database, in the order in which MongoDB did it.

A change stream is opened before a scenario begins; `read` drains it up to this moment, so that no thread is needed and
no change can be missed in between, however short a state lasted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from vfexport_core.queue.models import FINAL, ExportStatus

if TYPE_CHECKING:
    from pymongo.database import Database

    Documents = Database[dict[str, Any]]

EXPORTS = "exports"
# Our own writes in the stream: what was done before one was acknowledged comes before it.
MARKERS = "historyMarkers"

PENDING, TRIGGERED = ExportStatus.PENDING, ExportStatus.TRIGGERED
# From a status to another within one attempt. A PENDING one fails or expires with the run that should have claimed it.
WITHIN = {PENDING: {TRIGGERED, *FINAL} - {ExportStatus.FINISHED}, TRIGGERED: FINAL}
# To the next attempt: queued again, or claimed in the same step.
ONWARD = {PENDING, TRIGGERED}


@dataclass(frozen=True)
class State:
    """What an export was after one change; `status` is None once it was deleted."""

    export_id: str
    status: ExportStatus | None
    attempt: int
    run_id: str | None


class History:
    """See the module; a context manager. Whatever was in the collection before counts as the beginning.

    With `retries` set, a TRIGGERED export may become PENDING in its next attempt, in one step: the attempt FAILED.
    """

    def __init__(self, database: Documents) -> None:
        self._database = database
        self.retries = False
        self.states: list[State] = []
        found = database[EXPORTS].find({}, {"status": 1, "attempt": 1, "runId": 1})
        self.beginning = [_state(str(document["_id"]), document) for document in found]
        self._latest = {state.export_id: state for state in self.beginning}
        collections = {"$match": {"ns.coll": {"$in": [EXPORTS, MARKERS]}}}
        self._stream = database.watch([collections], max_await_time_ms=100)

    def read(self) -> list[State]:
        """Return all states up to this moment, every one that differs from the one before it."""
        marker = self._database[MARKERS].insert_one({}).inserted_id
        for change in self._stream:
            if change["ns"]["coll"] == MARKERS:
                if change["documentKey"]["_id"] == marker:
                    break
                continue
            self._take(change)
        return self.states

    def assert_lawful(self) -> None:
        """At most one export was TRIGGERED at any time (L2), and every change was one that the lifecycle has (L8)."""
        now = {state.export_id: state for state in self.beginning}
        for state in self.read():
            before = now.get(state.export_id)
            if state.status is not None:
                _assert_change(self._ended(before, state), state)
            now[state.export_id] = state
            running = [one.export_id for one in now.values() if one.status is TRIGGERED]
            assert len(running) <= 1, f"TRIGGERED at the same time: {running}"

    def ends(self, export_id: str) -> list[State]:
        """Return the final states that an export came to, one for each attempt that ended, as far as was read."""
        found: list[State] = []
        before: State | None = None
        for state in (one for one in self.states if one.export_id == export_id):
            ended = self._ended(before, state)
            found += [one for one in (ended if ended is not before else None, state) if one and one.status in FINAL]
            before = state
        return found

    def _ended(self, before: State | None, after: State) -> State | None:
        """Return the state before as it ended in the change to `after`, if that is one of a retry."""
        if not self.retries or before is None or (before.status, after.status) != (TRIGGERED, PENDING):
            return before
        return replace(before, status=ExportStatus.FAILED)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, change: dict[str, Any]) -> None:
        export_id = str(change["documentKey"]["_id"])
        before = self._latest.get(export_id)
        if change["operationType"] == "delete":
            state = State(export_id, None, 0, None)
        elif change["operationType"] == "update":
            assert before is not None, f"{export_id} was changed before it was there"
            update = change["updateDescription"]
            fields = {"status": before.status, "attempt": before.attempt, "runId": before.run_id}
            fields |= dict.fromkeys(update["removedFields"]) | update["updatedFields"]
            state = _state(export_id, fields)
        else:
            state = _state(export_id, change["fullDocument"])
        if state != before:
            self._latest[export_id] = state
            self.states.append(state)


def _state(export_id: str, fields: dict[str, Any]) -> State:
    return State(export_id, ExportStatus(fields["status"]), fields["attempt"], fields.get("runId"))


def _assert_change(before: State | None, after: State) -> None:
    if before is None or before.status is None:
        assert (after.status, after.attempt) == (PENDING, 1), f"it began as {after}"
        return
    what = f"{before} became {after}"
    if after.attempt == before.attempt:
        assert after.status in WITHIN.get(before.status, set()) or after.status is before.status, what
        assert before.run_id in {None, after.run_id}, f"another run took its attempt over: {what}"
    else:
        assert after.attempt == before.attempt + 1, what
        assert before.status in FINAL, what
        assert after.status in ONWARD, what
