"""Notifications: one for each export that ended, sent until its receiver has it, with the same id when sent again."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymongo import MongoClient

from tests.ccpa import USER_ID
from tests.commands import Commands
from tests.conftest import new_database
from tests.integration.queue_helpers import DELIVERED, ERROR, queued, triggered
from tests.webhook_receiver import Receiver, receiving
from vfexport_core.errors import SourceUnavailable, VfexportError
from vfexport_core.mongo.own_collections import COUNTERS, DELETIONS, OUTBOX
from vfexport_core.queue.ended import EndedAttempts
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.outbox import (
    FIRST_PAUSE_SECONDS,
    LEASE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MOST_TRIES,
    DeliveryStatus,
    pause_seconds,
)
from vfexport_core.services import canary, notifications
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.initialise import initialise
from vfexport_core.services.notifications import Looked, collect, deliver, look
from vfexport_core.telemetry.threads import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.settings import Settings, WebhookSettings

    Documents = Database[dict[str, Any]]

LOST = {"code": "WorkerLost", "message": "it was not heard of", "payload": "run-1"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def notified(settings: Settings, database: Documents) -> Notified:
    return Notified(settings, database)


class Notified:
    """A service that was set up, and whose webhooks are to be set."""

    def __init__(self, settings: Settings, database: Documents) -> None:
        initialise(database)
        self.database = database
        self.settings = settings.model_copy(update={"auto_retries": 2, "auto_retry_seconds": 0.0})
        self.backend = Backend(self.settings, database=database)
        self.begin()

    def begin(self) -> None:
        """Let everything from now on be told."""
        [*EndedAttempts(self.database).unread()]

    @property
    def queue(self) -> ExportRepository:
        return self.backend.queue

    def told(self, **webhooks: WebhookSettings) -> Backend:
        return Backend(self.settings.model_copy(update={"webhooks": webhooks}), database=self.database)

    def let_pass(self) -> None:
        """Let all pauses and leases be over."""
        self.database[OUTBOX].update_many({"status": "pending"}, {"$set": {"due": datetime(2020, 1, 1, tzinfo=UTC)}})

    def finished(self) -> str:
        claim = triggered(self.queue)
        self.queue.claimed(claim).finish(DELIVERED)
        return claim.export_id

    def failed(self, error: dict[str, Any] = ERROR) -> str:
        claim = triggered(self.queue)
        self.queue.claimed(claim).fail(error)
        return claim.export_id

    def lost(self) -> str:
        """End an attempt as its worker's loss does: another one follows, if any is left."""
        claim = triggered(self.queue)
        self.queue.close_run(claim.export_id, claim.run_id, ExportStatus.FAILED, LOST, is_transient=True)
        return claim.export_id


def test_nothing_is_asked_or_written_while_no_webhook_is_set(notified: Notified) -> None:
    notified.database[COUNTERS].delete_many({})
    notified.finished()
    assert look(notified.told()) == Looked()
    assert notified.database[COUNTERS].count_documents({}) == 0


def test_a_webhook_is_told_of_what_ends_from_its_first_look_on(notified: Notified, receiver: Receiver) -> None:
    backend = notified.told(ops=receiver.settings())
    assert look(backend) == Looked()
    export_id = notified.finished()
    assert look(backend) == Looked(new=1, sent=1)
    (mark,) = notified.database[COUNTERS].find({"_id": "ended"})
    assert mark["upTo"] >= notified.queue.get(export_id).attempts[0].ended, "it was noted how far was read"
    assert look(backend) == Looked()
    (request,) = receiver.received
    assert request.id == f"evt_{export_id}_1_finished"
    message = request.json
    assert (message["type"], message["data"].pop("campaignId")) == (
        "export.finished",
        notified.queue.get(export_id).campaign_id,
    )
    assert message["data"].pop("seconds") >= 0
    assert message["data"] == {
        "exportId": export_id,
        "exportType": "entries",
        "campaignName": "Summer Tour",
        "status": "FINISHED",
        "attempt": 1,
        "rows": DELIVERED.rows,
    }


def test_a_failure_is_told_with_what_to_do_and_links_and_without_its_text(
    notified: Notified, receiver: Receiver
) -> None:
    error = {"code": "NoMarketsFound", "message": f"fan {USER_ID}", "payload": USER_ID}
    notified.settings = notified.settings.model_copy(
        update={"page_url": "https://exports.example.org/", "dagster_url": "https://dagster.example.org"}
    )
    run_id = "0b5f3c1e-7c59-4f0c-9df6-3a1b2c3d4e5f"
    claim = triggered(notified.queue, run_id)
    notified.queue.claimed(claim).fail(error)
    look(notified.told(ops=receiver.settings()))
    (request,) = receiver.received
    data = request.json["data"]
    assert data["error"] == {"code": "NoMarketsFound", "hint": "Add a market to the campaign, then retry the export."}
    assert data["links"] == {
        "page": f"https://exports.example.org/#campaign={data['campaignId']}",
        "run": f"https://dagster.example.org/runs/{run_id}",
    }
    assert USER_ID.encode() not in request.body


def test_a_lost_worker_is_told_when_another_attempt_follows_and_its_export_has_not_ended(
    notified: Notified, receiver: Receiver
) -> None:
    backend = notified.told(ops=receiver.settings())
    export_id = notified.lost()
    assert notified.queue.get(export_id).status is ExportStatus.PENDING
    look(backend)
    claim, _ = notified.queue.claim(export_id, "run-2")
    notified.queue.claimed(claim).finish(DELIVERED)
    look(backend)
    told = [(request.json["type"], request.json["data"]["attempt"]) for request in receiver.received]
    assert told == [("worker.lost", 1), ("export.finished", 2)]
    assert receiver.received[0].json["data"]["error"] == {"code": "WorkerLost"}, "nobody has to do anything"


def test_an_attempt_that_is_followed_by_another_is_no_end_whenever_it_is_looked_at(
    notified: Notified, receiver: Receiver
) -> None:
    transient = {"code": "SourceUnavailable", "message": "away", "payload": None}
    claim = triggered(notified.queue)
    notified.queue.close_run(claim.export_id, claim.run_id, ExportStatus.FAILED, transient, is_transient=True)
    again, export = notified.queue.claim(claim.export_id, "run-2")
    assert notified.queue.removal.requeue(export, ERROR) is not None, "a deletion takes it out of its worker's hands"
    notified.queue.request_cancel(claim.export_id)
    notified.queue.retry(claim.export_id)
    assert again.attempt == 2
    look(notified.told(ops=receiver.settings()))
    assert receiver.ids == [f"evt_{claim.export_id}_3_canceled"]


def test_an_attempt_that_an_earlier_version_did_not_mark_as_followed_is_no_end(
    notified: Notified, receiver: Receiver
) -> None:
    """Whether the next one waits, has ended, or runs."""
    waits, has_ended, runs = notified.lost(), notified.lost(), notified.lost()
    for export_id in (has_ended, runs):
        claim, _ = notified.queue.claim(export_id, "run-2")
        if export_id == has_ended:
            notified.queue.claimed(claim).finish(DELIVERED)
    notified.database["exports"].update_many({}, {"$unset": {"attempts.$[].followed": 1}})
    look(notified.told(ops=receiver.settings()))
    told = {request.id: request.json["type"] for request in receiver.received}
    assert told == {f"evt_{export_id}_1_failed": "worker.lost" for export_id in (waits, has_ended, runs)} | {
        f"evt_{has_ended}_2_finished": "export.finished"
    }


def test_each_webhook_is_told_what_it_wants(notified: Notified, receiver: Receiver) -> None:
    notified.finished()
    failed, lost = notified.failed(), notified.lost()
    claim, _ = notified.queue.claim(lost, "run-2")
    notified.queue.claimed(claim).fail(LOST)
    only = {"lost": ("worker.lost",), "bad": ("export.failed", "export.expired"), "all": None}
    hooks = {
        name: receiver.settings(url=f"{receiver.url}&to={name}", **({} if events is None else {"events": events}))
        for name, events in only.items()
    }
    look(notified.told(**hooks))
    got = {name: [one.id for one in receiver.received if one.path.endswith(name)] for name in only}
    assert got["lost"] == [f"evt_{lost}_1_failed"], "of the second it would say that another attempt follows"
    assert got["bad"] == [f"evt_{failed}_1_failed", f"evt_{lost}_2_failed"]
    assert len(got["all"]) == 4, "the last attempt is told once, as the end of its export"


def test_a_deletion_that_is_open_for_too_long_is_told_once(notified: Notified, receiver: Receiver) -> None:
    deletions = notified.backend.deletions
    late = deletions.request("0f" * 32, "0f" * 8, {}, "ann", "corr-1").record_id
    deletions.request("1f" * 32, "0f" * 8, {}, "ann", "corr-2")
    long_ago = datetime.now(UTC) - timedelta(hours=13)
    notified.database[DELETIONS].update_one({"_id": ObjectId(late)}, {"$set": {"date.requested": long_ago}})
    backend = notified.told(ops=receiver.settings())
    for _ in range(2):
        look(backend)
    (request,) = receiver.received
    assert (request.id, request.json["type"]) == (f"evt_{late}_late", "deletion.late")
    assert set(request.json["data"]) == {"deletionId", "requested", "tries"}


def test_a_deletion_that_stays_open_is_not_told_anew_when_the_outbox_has_forgotten_it(
    notified: Notified, receiver: Receiver
) -> None:
    late = notified.backend.deletions.request("0f" * 32, "0f" * 8, {}, "ann", "corr-1").record_id
    backend, now = notified.told(ops=receiver.settings()), datetime.now(UTC)
    for days, told in ((7, 1), (8, 0)):
        long_ago = now - timedelta(days=days)
        notified.database[DELETIONS].update_one({"_id": ObjectId(late)}, {"$set": {"date.requested": long_ago}})
        notified.database[OUTBOX].delete_many({})
        assert look(backend) == Looked(new=told, sent=told), days


def test_nobody_is_told_of_a_canary(notified: Notified, receiver: Receiver) -> None:
    claim = triggered(notified.queue, campaign_id=canary.CAMPAIGN_ID)
    notified.queue.claimed(claim).finish(DELIVERED)
    assert look(notified.told(ops=receiver.settings())) == Looked()


def test_slack_gets_a_text_in_which_a_name_mentions_nobody(notified: Notified, receiver: Receiver) -> None:
    claim = triggered(notified.queue, campaign_name="<!channel>\nA & B")
    notified.queue.claimed(claim).finish(DELIVERED)
    failed = notified.failed({"code": "NoMarketsFound", "message": "m", "payload": None})
    hook = receiver.settings(format="slack", secrets=[])
    notified.settings = notified.settings.model_copy(update={"page_url": "https://exports.example.org"})
    look(notified.told(ops=hook))
    first, second = (request.json for request in receiver.received)
    assert first.keys() == {"text"}
    lines = first["text"].splitlines()
    assert lines[0].startswith(":white_check_mark: *entries of &lt;!channel&gt; A &amp; B* FINISHED (7 rows, ")
    campaign = notified.queue.get(claim.export_id).campaign_id
    assert lines[1] == f"<https://exports.example.org/#campaign={campaign}|page>"
    assert f"export {failed}" in second["text"]
    assert "NoMarketsFound. Add a market" in second["text"]
    assert "webhook-signature" not in receiver.received[0].headers


def test_slack_is_told_of_a_loss_that_another_attempt_follows_and_not_to_retry_it(
    notified: Notified, receiver: Receiver
) -> None:
    export_id = notified.lost()
    look(notified.told(ops=receiver.settings(format="slack", secrets=[])))
    (request,) = receiver.received
    (line,) = request.json["text"].splitlines()
    assert line.startswith(":warning: *entries of Summer Tour* lost its worker, the next attempt follows (")
    assert f"attempt 1, export {export_id}" in line


@pytest.mark.parametrize("statuses", [[500], [302], [404], [429]], ids=str)
def test_what_a_receiver_does_not_take_is_sent_again_later_with_the_same_id(
    notified: Notified, receiver: Receiver, statuses: list[int]
) -> None:
    receiver.statuses = [*statuses]
    backend = notified.told(ops=receiver.settings())
    export_id = notified.finished()
    looked = look(backend)
    assert looked.sent == 0
    assert f"answered {statuses[0]}" in looked.problems[0]
    assert look(backend) == Looked(), "it is not due yet"
    notified.let_pass()
    assert look(backend) == Looked(sent=1)
    assert receiver.ids == [f"evt_{export_id}_1_finished"] * 2
    assert receiver.received[0].body == receiver.received[1].body


def test_a_receiver_that_is_down_gets_everything_when_it_is_back(notified: Notified) -> None:
    with receiving() as gone:
        backend = notified.told(ops=gone.settings())
    ended = [notified.finished() for _ in range(3)]
    for _ in ended:
        assert look(backend).sent == 0
    notified.let_pass()
    with receiving() as back:
        assert look(notified.told(ops=back.settings())).sent == 3
        assert sorted(back.ids) == sorted(f"evt_{export_id}_1_finished" for export_id in ended)


def test_receivers_that_are_slow_keep_no_other_waiting(notified: Notified, receiver: Receiver) -> None:
    together = threading.Barrier(9, timeout=120)
    receiver.on_request = together.wait  # each waits for all: one after another would never come to an end
    notified.finished()
    assert look(notified.told(**{f"w{number}": receiver.settings() for number in range(9)})).sent == 9


def test_it_is_dead_after_the_last_try_and_stays_until_somebody_acts(notified: Notified, receiver: Receiver) -> None:
    receiver.statuses = [500] * MOST_TRIES
    backend = notified.told(ops=receiver.settings())
    notified.finished()
    for _ in range(MOST_TRIES):
        problem = look(backend).problems[0]
        notified.let_pass()
    assert f"(try {MOST_TRIES}, given up)" in problem
    assert look(backend) == Looked()
    (dead,) = backend.outbox.find(DeliveryStatus.DEAD)
    assert (dead.tries, dead.problem) == (MOST_TRIES, "the webhook answered 500")
    assert backend.outbox.counts() == {("ops", DeliveryStatus.DEAD): 1}
    assert "expires" not in (notified.database[OUTBOX].find_one() or {})
    assert backend.outbox.send_again([dead.id]) == 1
    assert look(backend) == Looked(sent=1)
    assert len(set(receiver.ids)) == 1
    assert backend.outbox.counts() == {}


def test_a_receiver_that_is_gone_is_not_asked_again(notified: Notified, receiver: Receiver) -> None:
    receiver.statuses = [410]
    backend = notified.told(ops=receiver.settings())
    notified.finished()
    assert "given up" in look(backend).problems[0]
    assert backend.outbox.discard(None, webhook="other") == 0
    assert backend.outbox.discard(None) == 1
    assert look(backend) == Looked(), "what was discarded is not found anew"
    assert len(receiver.received) == 1


def test_a_sender_that_is_killed_before_it_notes_it_sends_again_with_the_same_id(
    notified: Notified, receiver: Receiver
) -> None:
    backend = notified.told(ops=receiver.settings())
    notified.finished()
    collect(backend)
    killed = backend.outbox.take("ops")
    assert killed is not None
    outbox, backend.outbox = backend.outbox, Dying()  # type: ignore[assignment]
    with pytest.raises(SourceUnavailable):
        deliver(backend, killed)
    backend.outbox = outbox
    assert look(backend) == Looked(), "its lease is not over"
    notified.let_pass()
    assert look(backend) == Looked(sent=1)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    assert not outbox.note_sent(killed), "the lease is another's by now"


def test_what_ends_each_sender_is_given_up_in_the_end(notified: Notified, receiver: Receiver) -> None:
    backend = notified.told(ops=receiver.settings())
    notified.finished()
    collect(backend)
    for _ in range(MOST_TRIES):
        assert backend.outbox.take("ops") is not None
        notified.let_pass()
    assert "given up" in look(backend).problems[0]
    assert receiver.received == []
    assert backend.outbox.counts() == {("ops", DeliveryStatus.DEAD): 1}


def test_one_that_cannot_be_made_into_a_message_keeps_no_other_from_being_sent(
    notified: Notified, receiver: Receiver
) -> None:
    backend = notified.told(ops=receiver.settings())
    notified.finished()
    collect(backend)
    notified.database[OUTBOX].update_one({}, {"$unset": {"data.campaignName": 1}})
    backend = notified.told(ops=receiver.settings(format="slack", secrets=[]))
    assert "it could not be sent: KeyError (try 1)" in look(backend).problems[0]
    notified.finished()
    assert look(backend) == Looked(new=1, sent=1)


class Dying:
    """An outbox that is out of reach when something was sent."""

    def note_sent(self, _: Any) -> bool:
        raise SourceUnavailable("collection notificationOutbox: gone")


def test_several_senders_at_once_send_each_once(notified: Notified, receiver: Receiver) -> None:
    ended = [notified.finished() for _ in range(4)]
    backends = [notified.told(ops=receiver.settings()) for _ in range(4)]
    looked = at_once(look, backends)
    assert sum(one.new for one in looked) == sum(one.sent for one in looked) == 4
    assert sorted(receiver.ids) == sorted(f"evt_{export_id}_1_finished" for export_id in ended)


def test_what_was_put_and_not_noted_as_read_is_there_once(notified: Notified, receiver: Receiver) -> None:
    """Somebody is killed between the two."""
    notified.finished()
    backend = notified.told(ops=receiver.settings())
    marks = notified.database[COUNTERS].find_one({"_id": "ended"})
    assert collect(backend) == 1
    notified.database[COUNTERS].replace_one({"_id": "ended"}, marks or {})
    assert collect(backend) == 0
    assert look(backend) == Looked(sent=1)


def test_a_look_sends_however_long_it_collects(notified: Notified, receiver: Receiver) -> None:
    for _ in range(3):
        notified.finished()
    backend = notified.told(a=receiver.settings(), b=receiver.settings())
    assert look(backend, seconds=0) == Looked(new=6, sent=2)
    assert look(backend, seconds=0) == Looked(sent=2)


def test_of_more_events_than_a_look_has_time_for_each_look_puts_some(
    notified: Notified, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "MOST_AT_ONCE", 2)
    for _ in range(5):
        notified.finished()
    backend = notified.told(ops=receiver.settings())
    assert [collect(backend, seconds=0) for _ in range(4)] == [2, 2, 1, 0]


def test_events_are_written_together_and_those_that_are_there_not_again(
    notified: Notified, receiver: Receiver, mongo_server: MongoServer
) -> None:
    for _ in range(3):
        notified.finished()
    commands = Commands()
    with MongoClient[dict[str, Any]](mongo_server.uri, tz_aware=True, event_listeners=[commands]) as client:
        notified.database = client[notified.database.name]
        backend = notified.told(a=receiver.settings(), b=receiver.settings())
        assert (collect(backend), commands.names.count("update")) == (6, 2), "the outbox, and how far was read"
        assert (collect(backend), commands.names.count("update")) == (0, 3), "only how far was read"


def test_what_ended_while_nobody_looked_is_told_when_somebody_does(notified: Notified, receiver: Receiver) -> None:
    export_id = notified.finished()
    notified.database[COUNTERS].update_one({"_id": "ended"}, {"$set": {"upTo": datetime.now(UTC) - timedelta(days=3)}})
    assert look(notified.told(ops=receiver.settings())) == Looked(new=1, sent=1)
    long_ago = datetime.now(UTC) - timedelta(days=8)
    notified.database["exports"].update_one({"_id": ObjectId(export_id)}, {"$set": {"attempts.0.ended": long_ago}})
    notified.database[OUTBOX].delete_many({})
    notified.database[COUNTERS].update_one({"_id": "ended"}, {"$set": {"upTo": long_ago - timedelta(days=1)}})
    assert look(notified.told(ops=receiver.settings())) == Looked(), "longer ago than anything is remembered"


def test_pauses_grow_to_a_bound_and_a_receiver_may_ask_for_a_longer_one() -> None:
    for tries in range(1, MOST_TRIES + 1):
        expected = min(FIRST_PAUSE_SECONDS * 4 ** (tries - 1), LONGEST_PAUSE_SECONDS)
        assert all(0.75 * expected <= pause_seconds(tries) <= 1.25 * expected for _ in range(20))
    assert pause_seconds(1, 600) == 600
    assert pause_seconds(1, 10**9) == LONGEST_PAUSE_SECONDS
    assert len({pause_seconds(3) for _ in range(20)}) > 1, "not all at once"
    assert LEASE_SECONDS > 60


def test_no_field_of_the_outbox_has_room_for_anything_else(notified: Notified, receiver: Receiver) -> None:
    backend = notified.told(ops=receiver.settings())
    notified.finished()
    collect(backend)
    (document,) = notified.database[OUTBOX].find()
    event = backend.outbox.find(DeliveryStatus.PENDING)[0].event
    event.data["email"] = "fan@example.org"
    with pytest.raises(VfexportError, match="the validator refused"):
        backend.outbox.put([("other", event)])
    assert notified.database[OUTBOX].count_documents({}) == 1
    assert document["due"] == document["at"]


ENDS = st.sampled_from(["finish", "fail", "cancel", "lose", "redeliver", "retry", "look", "crash"])


@given(steps=st.lists(ENDS, max_size=14))
@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_end_of_an_export_is_told_exactly_once(
    settings: Settings, mongo_client: MongoClient[dict[str, Any]], steps: list[str]
) -> None:
    """Whatever happens to an export, and whenever somebody looks, or dies while looking."""
    with new_database(mongo_client) as database, receiving() as receiver:
        notified = Notified(settings, database)
        backend, queue = notified.told(ops=receiver.settings()), notified.queue
        export_id, ends = queued(queue).id, list[str]()
        for step in steps:
            done = _step(step, notified, backend, export_id)
            ends += [f"evt_{export_id}_{queue.get(export_id).attempt}_{done}"] if done else []
        look(backend)
        ids = [one.id for one in receiver.received if one.json["type"] != "worker.lost"]
        assert ids == ends
        assert database[OUTBOX].count_documents({"status": "sent"}) == len(receiver.received)


def _step(step: str, notified: Notified, backend: Backend, export_id: str) -> str | None:
    """Do one step if it can be done now; return how the export ended, if it did."""
    queue = notified.queue
    export = queue.get(export_id)
    if step == "look":
        look(backend)
    elif step == "crash":
        marks = notified.database[COUNTERS].find_one({"_id": "ended"})
        collect(backend)
        notified.database[COUNTERS].replace_one({"_id": "ended"}, marks or {})
    elif step == "redeliver" and export.status is ExportStatus.FINISHED:
        claim, _ = queue.claim_again(export_id, f"run-{export.attempt + 1}", export.attempt)
        queue.claimed(claim).finish(DELIVERED)
        return "finished"
    elif step == "retry" and export.status in {ExportStatus.FAILED, ExportStatus.CANCELED}:
        queue.retry(export_id)
    elif export.status is ExportStatus.PENDING:
        return _end(step, queue, export_id)
    return None


def _end(step: str, queue: ExportRepository, export_id: str) -> str | None:
    if step == "cancel":
        queue.request_cancel(export_id)
        return "canceled"
    if step not in {"finish", "fail", "lose"}:
        return None
    claim, _ = queue.claim(export_id, "run")
    if step == "finish":
        queue.claimed(claim).finish(DELIVERED)
        return "finished"
    if step == "fail":
        queue.claimed(claim).fail(ERROR)
        return "failed"
    queue.close_run(export_id, "run", ExportStatus.FAILED, LOST, is_transient=True)
    return "failed" if queue.get(export_id).status is ExportStatus.FAILED else None
