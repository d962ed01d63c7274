"""`vfexport notifications`, and what the doctor says of webhooks."""

from __future__ import annotations

import json
import signal
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli_helpers import Cli, CliProcess, error_of
from tests.integration.queue_helpers import DELIVERED, triggered
from tests.webhook_receiver import SECRET, Receiver, receiving
from vfexport_core.doctor.checks import Outcome, run_checks
from vfexport_core.doctor.notification_checks import notification_checks
from vfexport_core.mongo.own_collections import OUTBOX
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    Documents = Database[dict[str, Any]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def cli(
    settings_environment: dict[str, str],
    database: Documents,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Cli:
    monkeypatch.chdir(tmp_path)
    initialise(database)
    webhook = {"URL": receiver.url, "SECRETS": json.dumps([SECRET]), "ALLOW_HTTP": "true", "ALLOW_PRIVATE": "true"}
    named = {f"VFEXPORT_WEBHOOKS__OPS__{name}": value for name, value in webhook.items()}
    return Cli(settings_environment | named, tmp_path)


def told(cli: Cli, *arguments: str, status: int = 0) -> Any:
    result = cli.run("notifications", *arguments, "--json")
    assert result.exit_code == status, result.stderr
    return json.loads(result.stdout)


def finish_one(database: Documents) -> str:
    queue = ExportRepository(database)
    claim = triggered(queue)
    queue.claimed(claim).finish(DELIVERED)
    return claim.export_id


def findings(cli: Cli) -> list[tuple[str, Outcome]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cli.environment.items():
            patch.setenv(name, value)
        settings = load_settings(None)
    return [(one.name, one.outcome) for one in run_checks(notification_checks(settings))]


def test_what_was_given_up_is_listed_sent_again_or_discarded(cli: Cli, database: Documents, receiver: Receiver) -> None:
    assert told(cli, "send") == {"new": 0, "sent": 0, "problems": []}
    receiver.statuses = [410, 410]
    export_id = finish_one(database)
    assert findings(cli) == [("webhooks", Outcome.OK), ("notifications", Outcome.OK)]
    assert told(cli, "send", status=1)["problems"] == [
        f"ops:evt_{export_id}_1_finished: the webhook answered 410: it is there no longer (try 1, given up)"
    ]
    assert findings(cli) == [("webhooks", Outcome.OK), ("notifications", Outcome.FAILED)]
    (dead,) = told(cli, "list")
    assert (dead["id"], dead["exportId"], dead["tries"]) == (f"ops:evt_{export_id}_1_finished", export_id, 1)
    text = cli.run("notifications", "list").stdout
    assert "the webhook answered 410" in text
    assert "hooks/one" not in text + json.dumps(dead), "its address may be a secret"
    for command, done in (("resend", "resent"), ("discard", "discarded")):
        assert told(cli, command, "ops:evt_unknown", status=1) == {done: 0}
    assert told(cli, "resend", dead["id"]) == {"resent": 1}
    told(cli, "send", status=1)
    assert told(cli, "resend", "--all", "--webhook", "other") == {"resent": 0}
    assert told(cli, "resend", "--all") == {"resent": 1}
    assert told(cli, "send")["sent"] == 1
    assert len(set(receiver.ids)) == 1
    assert told(cli, "list") == []
    assert [one["status"] for one in told(cli, "list", "--status", "sent")] == ["sent"]


def test_what_a_killed_sender_had_sent_is_sent_again_with_the_same_id(
    cli: Cli, database: Documents, receiver: Receiver
) -> None:
    told(cli, "send")
    finish_one(database)
    begun: list[CliProcess] = []
    is_known = threading.Event()

    def kill_the_sender() -> None:
        assert is_known.wait(120)
        begun[0].child.kill()
        begun[0].child.wait(120)

    receiver.on_request = kill_the_sender
    with cli.process("notifications", "send") as sender:
        begun.append(sender)
        is_known.set()
        assert sender.end() == -signal.SIGKILL, "the receiver has the message, and has not said so"
    receiver.on_request = None
    assert told(cli, "send")["sent"] == 0, "its lease is not over"
    database[OUTBOX].update_many({}, {"$set": {"due": datetime(2020, 1, 1, tzinfo=UTC)}})
    assert told(cli, "send")["sent"] == 1
    first, second = receiver.received
    assert (first.id, first.body) == (second.id, second.body)


def test_none_and_all_are_told_apart(cli: Cli) -> None:
    for command in ("resend", "discard"):
        assert cli.run("notifications", command).exit_code == 2
        assert cli.run("notifications", command, "some", "--all").exit_code == 2


def test_a_message_can_be_sent_to_try_a_webhook(cli: Cli, receiver: Receiver) -> None:
    assert told(cli, "test", "ops") == {"sent": receiver.ids[0]}
    assert receiver.received[0].json["type"] == "test"
    receiver.statuses = [500]
    refused = cli.run("notifications", "test", "ops", "--json")
    assert (refused.exit_code, error_of(refused.stderr)["code"]) == (3, "NotificationFailed")
    unknown = cli.run("notifications", "test", "nobody", "--json")
    assert (unknown.exit_code, error_of(unknown.stderr)["code"]) == (1, "ConfigurationError")
    assert "there are: ops" in error_of(unknown.stderr)["message"]


def test_the_doctor_tells_of_hosts_that_are_not_allowed_and_of_webhooks_that_are_gone(
    cli: Cli, database: Documents, receiver: Receiver
) -> None:
    cli.environment["VFEXPORT_WEBHOOKS__OPS__ALLOW_PRIVATE"] = "false"
    assert findings(cli)[0] == ("webhooks", Outcome.FAILED)
    told(cli, "send")
    finish_one(database)
    assert "not allowed: 127.0.0.1" in told(cli, "send", status=1)["problems"][0]
    cli.environment = {name: value for name, value in cli.environment.items() if "WEBHOOKS" not in name}
    assert findings(cli) == [("webhooks", Outcome.OK), ("notifications", Outcome.WARNING)]
    assert told(cli, "discard", "--all", "--webhook", "ops") == {"discarded": 0}, "it is still to be sent"
    assert told(cli, "discard", "--all", "--webhook", "ops", "--status", "pending") == {"discarded": 1}
    assert findings(cli) == [("webhooks", Outcome.OK), ("notifications", Outcome.OK)]
    assert receiver.received == []
