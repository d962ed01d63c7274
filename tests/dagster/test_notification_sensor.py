"""The sensor that tells webhooks: what it needs comes from the environment, and each tick says what it did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import dagster as dg

from tests.integration.queue_helpers import DELIVERED, triggered
from tests.webhook_receiver import SECRET, receiving
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.sensors import IDLE_SECONDS, NOTIFYING_SECONDS, build_notification_sensor

if TYPE_CHECKING:
    import pytest

    from vfexport_core.queue.repository import ExportRepository


def tick(instance: dg.DagsterInstance) -> str | None:
    with dg.build_sensor_context(instance=instance, resources={"mongo": MongoResource()}) as context:
        return build_notification_sensor().evaluate_tick(context).skip_message


def set_webhook(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    fields = {"URL": url, "SECRETS": json.dumps([SECRET]), "ALLOW_HTTP": "true", "ALLOW_PRIVATE": "true"}
    for name, value in fields.items():
        monkeypatch.setenv(f"VFEXPORT_WEBHOOKS__OPS__{name}", value)


def test_it_ticks_seldom_while_no_webhook_is_set(
    settings_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings_environment.items():
        monkeypatch.setenv(name, value)
    assert build_notification_sensor().minimum_interval_seconds == IDLE_SECONDS
    set_webhook(monkeypatch, "https://hooks.example.org/x")
    assert build_notification_sensor().minimum_interval_seconds == NOTIFYING_SECONDS
    set_webhook(monkeypatch, "ftp://hooks.example.org/x")
    assert build_notification_sensor().minimum_interval_seconds == NOTIFYING_SECONDS, (
        "what is wrong is told by its ticks"
    )


def test_a_tick_tells_what_ended_and_says_what_it_did(
    store: ExportRepository, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        set_webhook(monkeypatch, receiver.url)
        assert tick(instance) == "nothing to tell"
        claim = triggered(store)
        store.claimed(claim).finish(DELIVERED)
        receiver.statuses = [503]
        assert tick(instance) == f"ops:evt_{claim.export_id}_1_finished: the webhook answered 503 (try 1)"
        assert tick(instance) == "nothing to tell"
