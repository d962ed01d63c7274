"""Whatever happens to exports, in whatever order and at the same time: the queue does what the model says.

Operations that run at the same time must come out as if they had run one after the other, in some order. Time does not
pass here: documents are made older instead. To search by chance, and for longer: LIFECYCLE_EXAMPLES=2000 pytest ...
"""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.faults import lifecycle
from tests.faults.history import History
from tests.faults.lifecycle import FINISHED, KINDS, PENDING, TRIGGERED, Held, Known, Model, Operation, World
from vfexport_core.queue.models import ACTIVE, FINAL, RETRYABLE, Export
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

EXAMPLES = int(os.environ.get("LIFECYCLE_EXAMPLES", "0"))
# What it finds is told as it was found: to make it smaller takes longer than a test may.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
BOUNDED: dict[str, Any] = {"max_examples": 30, "derandomize": True, "database": None, "phases": PHASES}
SETTINGS = hypothesis_settings(
    **({"max_examples": EXAMPLES} if EXAMPLES else BOUNDED),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
WAYS = ("request", "take_up", "take_up_again", "beat", "end", "close_run", "cancel", "retry", "reap")
BEATS = ("confirm", "progress", "count")
FEW = st.integers(0, 5)
STEPS = st.tuples(st.sampled_from(WAYS), FEW, FEW, FEW)


class Lifecycle(RuleBasedStateMachine):
    """What is drawn never depends on what has happened: a number picks one (modulo) of what there is, newest first."""

    def __init__(self, database: Documents, buckets: BucketClients) -> None:
        super().__init__()
        self.exports = database.exports
        self.exports.delete_many({})
        self.model = Model()
        self.world = World(ExportRepository(database, lease_seconds=600), buckets)
        for key in self.stored():
            self.world.target.call("delete_object", {"Key": key})
        self.bucket_changed = True
        self.claims: list[Held] = []
        self.remembered: dict[str, list[dict[str, Any]]] = {}
        self.history = History(database)
        self.runs = itertools.count(1)

    def teardown(self) -> None:
        with self.history:
            self.history.assert_lawful()
            for name, one in self.model.exports.items():
                happened = [(state.attempt, state.status) for state in self.history.ends(self.world.ids[name])]
                assert happened == [(entry.attempt, entry.status) for entry in one.entries if entry.status in FINAL]

    @initialize()
    def begin(self) -> None:
        for kind in ("entries", "wave1"):
            self.do(lifecycle.Request(kind))
        self.do(self.operation("take_up", 0, 0, 0))

    @rule(step=STEPS)
    def alone(self, step: tuple[str, int, int, int]) -> None:
        self.do(self.operation(*step))

    @rule(steps=st.lists(STEPS, min_size=2, max_size=3))
    def at_the_same_time(self, steps: list[tuple[str, int, int, int]]) -> None:
        self.race([self.operation(*step) for step in steps])

    @rule(step=STEPS, times=st.integers(2, 4))
    def the_same_by_several(self, step: tuple[str, int, int, int], times: int) -> None:
        self.race([self.operation(*step)] * times)

    @rule(number=FEW)
    def send(self, number: int) -> None:
        if held := pick(self.claims, number):
            self.do(lifecycle.Send(held))

    @rule(number=FEW)
    def arrive(self, number: int) -> None:
        """What was sent, by a worker that may be lost by now, is put into the bucket."""
        if key := pick(sorted(self.model.flying), number):
            whose = self.world.ids[key.rpartition("/")[0].replace("-", ":")]
            self.world.target.call("put_object", {"Key": key, "Body": b"x", "Metadata": {"export-id": whose}})
            self.model.flying.discard(key)
            self.model.stored.add(key)
            self.bucket_changed = True

    @rule()
    def deliver(self) -> None:
        """The newest worker does all that is left to do."""
        self.send(0)
        while self.model.flying:
            self.arrive(0)
        self.do(self.operation("end", 0, 0, 0))

    @rule()
    def lease_runs_out(self) -> None:
        if name := self.model.running():
            self.older("leaseUntil")
            self.model.change(name, lease_out=True)

    @rule()
    def time_is_up(self) -> None:
        if name := self.model.running():
            self.older("date.triggered")
            self.model.change(name, overdue=True)

    @rule(is_late=st.booleans())
    def watch(self, is_late: bool) -> None:
        self.exports.update_many({"cleanupDue": {"$exists": True}}, an_hour_ago("cleanupDue"))
        self.do(lifecycle.Look(is_late))
        self.bucket_changed = True

    @invariant()
    def rules_hold(self) -> None:
        if self.bucket_changed:
            assert self.stored() == self.model.stored
            self.bucket_changed = False
        documents = list(self.exports.find())
        assert self.known(documents) == visible(self.model)
        assert sum(document["status"] == TRIGGERED for document in documents) <= 1, "L2"
        kinds = [(one["exportType"], one.get("dateKey")) for one in documents if one["status"] in ACTIVE]
        assert len(kinds) == len(set(kinds)), "L3"
        names = {export_id: name for name, export_id in self.world.ids.items()}
        for document in documents:
            name = names[str(document["_id"])]
            self.assert_only_finished_files_stay(name, document)
            self.assert_attempts_are_remembered(name, document)

    def assert_only_finished_files_stay(self, name: str, document: dict[str, Any]) -> None:
        """L6, L10: a file belongs to a run that finished or goes on, or is known to be taken away."""
        for entry in document["attempts"]:
            there = Held(name, entry["attempt"], "").key in self.model.stored
            if entry["status"] == FINISHED:
                assert there, "L7: it was delivered"
            elif there:
                assert entry["status"] == TRIGGERED or "cleanupDue" in document, "nothing is forgotten"

    def assert_attempts_are_remembered(self, name: str, document: dict[str, Any]) -> None:
        """L8: what happened to earlier attempts stays."""
        attempts = [{**entry, "cleaned": None} for entry in document["attempts"] if entry["status"] in FINAL]
        assert [entry["attempt"] for entry in document["attempts"]] == [*range(1, len(document["attempts"]) + 1)]
        assert document["attempt"] - len(document["attempts"]) == (document["status"] == PENDING)
        before = self.remembered.get(name, [])
        assert attempts[: len(before)] == before
        self.remembered[name] = attempts

    def operation(self, way: str, first: int, second: int, third: int) -> Operation | None:
        """Make an operation out of numbers; None when there is nothing that it could be done to."""
        if way == "request":
            return lifecycle.Request(sorted(KINDS)[first % len(KINDS)])
        if way == "reap":
            return lifecycle.Reap()
        held = pick(self.claims, first)
        if way in {"beat", "end"}:
            return held and self.of_worker(way, held, second)
        name = pick(list(self.model.exports), first)
        return name and self.of_export(way, name, second, third)

    def of_worker(self, way: str, held: Held, second: int) -> Operation:
        if way == "beat":
            return lifecycle.Beat(held, BEATS[second % len(BEATS)])
        status = (FINISHED, FINISHED, FINISHED, *sorted(RETRYABLE))[second]
        if status is FINISHED and self.model.owns(held) and held.key not in self.model.stored:
            status = lifecycle.FAILED  # no worker finishes what it has not delivered
        return lifecycle.End(held, status)

    def of_export(self, way: str, name: str, second: int, third: int) -> Operation:
        one = self.model.exports[name]
        # A run of its own, or the one that is known; the attempt that it is, or the one before.
        run = one.run if second == 1 and one.run else f"run-{next(self.runs)}"
        attempt = one.attempt - (third == 1)
        if way == "take_up":
            return lifecycle.TakeUp(name, run, None if third > 3 else attempt)
        if way == "take_up_again":
            return lifecycle.TakeUpAgain(name, run, attempt)
        if way == "close_run":
            known = one.run if second % 2 and one.run else run
            status = sorted(RETRYABLE)[third % len(RETRYABLE)]
            return lifecycle.CloseRun(name, known, status, None if third > 2 else attempt)
        if way == "cancel":
            return lifecycle.AskToCancel(name)
        return lifecycle.Retry(name, redeliver=second > 2)

    def do(self, operation: Operation | None) -> None:
        self.race([operation])

    def race(self, operations: list[Operation | None]) -> None:
        """Do all at the same time; there must be an order in which the model comes to the same, and that is it."""
        chosen = [operation for operation in operations if operation is not None]
        if not chosen:
            return
        barrier = threading.Barrier(len(chosen))

        def begin(operation: Operation) -> str:
            barrier.wait(60)
            return operation.on_world(self.world)

        with ThreadPoolExecutor(len(chosen)) as threads:
            outcomes = self.named(chosen, list(threads.map(begin, chosen)))
        note(f"{' | '.join(map(str, chosen))}: {outcomes}")
        real = self.known(list(self.exports.find()))
        for order in itertools.permutations(range(len(chosen))):
            model = self.model.copy()
            if self.fits(model, chosen, outcomes, order) and visible(model) == real:
                self.model = model
                break
        else:
            raise AssertionError(f"in no order:\n{chosen}\n{outcomes}\n{self.model}\n{real}")
        for operation, outcome in zip(chosen, outcomes, strict=True):
            if outcome.startswith("attempt "):
                held = Held(operation.name, int(outcome.split()[1]), operation.run)  # type: ignore[attr-defined]
                self.claims += [] if held in self.claims else [held]

    def fits(self, model: Model, chosen: list[Operation], outcomes: list[str], order: tuple[int, ...]) -> bool:
        for number in order:
            wanted = chosen[number].on_model(model)
            if outcomes[number] not in chosen[number].also(wanted, self.model, model):
                return False
        return True

    def named(self, chosen: list[Operation], outcomes: list[str]) -> list[str]:
        """Learn the ids of new exports, and replace ids by names."""
        for operation, outcome in zip(chosen, outcomes, strict=True):
            if outcome.startswith("new "):
                name = self.model.next_name(operation.kind)  # type: ignore[attr-defined]
                assert name not in self.world.ids, "L3: two new ones at the same time"
                self.world.ids[name] = outcome.removeprefix("new ")
        names = {export_id: name for name, export_id in self.world.ids.items()}
        return [" ".join(names.get(word, word) for word in outcome.split()) for outcome in outcomes]

    def known(self, documents: list[dict[str, Any]]) -> dict[str, Known]:
        names = {export_id: name for name, export_id in self.world.ids.items()}
        return {names[str(one["_id"])]: Known.of(Export.from_document(one), one) for one in documents}

    def stored(self) -> set[str]:
        return {item["Key"] for item in self.world.target.call("list_objects_v2", {}).get("Contents", [])}

    def older(self, path: str) -> None:
        self.exports.update_many({"status": TRIGGERED.value}, an_hour_ago(path))


def pick(found: list[Any], number: int) -> Any:
    return found[-1 - number % len(found)] if found else None


def an_hour_ago(path: str) -> list[dict[str, Any]]:
    return [{"$set": {path: {"$dateSubtract": {"startDate": "$$NOW", "unit": "hour", "amount": 1}}}}]


def visible(model: Model) -> dict[str, Known]:
    """Return what the database can know of the model's exports."""
    return {name: replace(one, lease_out=False, overdue=False) for name, one in model.exports.items()}


def test_the_queue_does_what_the_model_says(database: Documents, settings: Settings) -> None:
    initialise(database)
    with BucketClients(settings) as buckets:
        run_state_machine_as_test(lambda: Lifecycle(database, buckets), settings=SETTINGS)
