"""Telling webhooks of exports that ended, of lost workers, of deletions that are late.

One look finds what happened since the last one, puts it into the outbox, and sends what is due there. Whoever looks,
how often, and how many do so at once makes no difference to what is sent: an event is derived from the documents, its
id from what it is about.
"""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import AddressRefused, ConfigurationError, NotificationFailed, WebhookGone, WorkerLost
from vfexport_core.outbound.webhook import send
from vfexport_core.queue.ended import LOOK_BACK
from vfexport_core.queue.outbox import MOST_AT_ONCE, MOST_TRIES, DeliveryStatus, Event
from vfexport_core.services.canary import CAMPAIGN_ID as CANARY_CAMPAIGN_ID
from vfexport_core.services.notification_messages import LOST_TYPE, TEST_TYPE, message_of
from vfexport_core.telemetry.threads import at_once

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from vfexport_core.ccpa.records import Deletion
    from vfexport_core.mongo.document import Document
    from vfexport_core.queue.ended import EndedAttempt
    from vfexport_core.queue.outbox import Delivery
    from vfexport_core.services.bootstrap import Backend

_log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
"""After so long a look begins nothing more; what is left is for the next one."""
COLLECTING = 1 / 3
"""The part of a look in which events are collected. The rest is for sending, however many events there are."""
DELETION_LATE = timedelta(hours=12)
"""An open deletion is told of after half of the time that is promised.

Not when that was longer ago than `LOOK_BACK`: the outbox forgets what was sent long before, and it would be told anew.
"""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look came to: how many notifications were new, how many were sent; what went wrong, in words."""

    new: int = 0
    sent: int = 0
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [f"{self.sent} notifications sent"] if self.sent else []
        return "; ".join([*told, *self.problems]) or "nothing to tell"


def look(backend: Backend, *, seconds: float = LOOK_SECONDS) -> Looked:
    """Look once; nothing is asked or written while no webhook is set. Raises SourceUnavailable."""
    webhooks = [*backend.settings.webhooks]
    if not webhooks:
        return Looked()
    new = collect(backend, seconds=seconds * COLLECTING)
    until = time.monotonic() + seconds * (1 - COLLECTING)
    # Each by itself: one that is slow keeps no other waiting.
    done = at_once(lambda name: _send_due(backend, name, until), webhooks, most=len(webhooks))
    return Looked(new, sum(sent for sent, _ in done), tuple(problem for _, problem in done if problem is not None))


def collect(backend: Backend, *, seconds: float = LOOK_SECONDS * COLLECTING) -> int:
    """Put what happened since the last look into the outbox, and return how much of it is new.

    After so many seconds the rest is left for the next look, which passes quickly over what is there already.
    """
    until = time.monotonic() + seconds

    def is_over() -> bool:
        return time.monotonic() >= until

    webhooks = {name: webhook.events for name, webhook in backend.settings.webhooks.items()}
    late = backend.deletions.open_longer_than(DELETION_LATE, most=DELETION_LATE + LOOK_BACK)
    new = sum(map(backend.outbox.put, _batches(_wanted(webhooks, map(_late, late)))))
    for span in backend.ended.unread(is_over):
        for batch in _batches(_wanted(webhooks, map(_event_of, span.attempts))):
            added = backend.outbox.put(batch)
            new += added
            # Only after something new: so each look gets further than the one before.
            if added and is_over():
                return new
    return new


def _batches(wanted: Iterator[tuple[str, Event]]) -> Iterator[list[tuple[str, Event]]]:
    while batch := [*islice(wanted, MOST_AT_ONCE)]:
        yield batch


def _send_due(backend: Backend, name: str, until: float) -> tuple[int, str | None]:
    """Send what is due for a webhook, one at least, until something goes wrong or the time is over.

    Return how many were sent, and what went wrong.
    """
    sent = 0
    while delivery := backend.outbox.take(name):
        problem = deliver(backend, delivery)
        if problem is not None:
            return sent, problem
        sent += 1
        if time.monotonic() >= until:
            break
    return sent, None


def deliver(backend: Backend, delivery: Delivery) -> str | None:
    """Send one that was taken, and note what became of it; return what went wrong, in words."""
    try:
        _send(backend, delivery)
    except (NotificationFailed, AddressRefused, WebhookGone) as error:
        least = error.retry_after or 0.0 if isinstance(error, NotificationFailed) else 0.0
        return _failed(backend, delivery, error.message, is_final=isinstance(error, WebhookGone), least_seconds=least)
    except Exception as error:  # noqa: BLE001 whatever is wrong with one keeps no other from being sent
        return _failed(backend, delivery, f"it could not be sent: {type(error).__name__}")
    backend.outbox.note_sent(delivery)
    return None


def _send(backend: Backend, delivery: Delivery) -> None:
    if delivery.tries > MOST_TRIES:
        raise NotificationFailed("those who sent it ended before they could say what became of it")
    webhook = backend.settings.webhooks[delivery.webhook]
    send(webhook, message_of(delivery.event, webhook, backend.settings))


def _failed(backend: Backend, delivery: Delivery, problem: str, **how: Any) -> str:
    became = backend.outbox.note_failed(delivery, problem, **how)
    given_up = ""
    if became is DeliveryStatus.DEAD:
        _log.error("notification %s is given up: %s", delivery.id, problem)
        given_up = ", given up"
    return f"{delivery.id}: {problem} (try {delivery.tries}{given_up})"


def send_test(backend: Backend, name: str) -> str:
    """Send a message to a webhook, past the outbox, and return its id.

    Raises ConfigurationError when there is no such webhook, NotificationFailed, WebhookGone, AddressRefused.
    """
    webhook = backend.settings.webhooks.get(name)
    if webhook is None:
        known = ", ".join(backend.settings.webhooks) or "none"
        raise ConfigurationError(f"no webhook has this name; there are: {known}", payload="VFEXPORT_WEBHOOKS")
    event = Event(id=f"evt_test_{secrets.token_hex(8)}", type=TEST_TYPE, at=datetime.now(UTC), data={})
    send(webhook, message_of(event, webhook, backend.settings))
    return event.id


def _wanted(webhooks: Mapping[str, Collection[str]], events: Iterable[Event | None]) -> Iterator[tuple[str, Event]]:
    """Yield each event for each webhook that wants to hear of it."""
    for event in filter(None, events):
        for name, types in webhooks.items():
            if event.type in types:
                yield name, event


def _event_of(attempt: EndedAttempt) -> Event | None:
    """Return what is told of an attempt: that its export ended with it; of one that is followed, that it was lost."""
    if attempt.campaign_id == CANARY_CAMPAIGN_ID:  # the doctor hears of it
        return None
    if not attempt.is_final and attempt.error_code != WorkerLost.code:
        return None
    data: Document = {
        "exportId": attempt.export_id,
        "exportType": attempt.export_type,
        "campaignId": attempt.campaign_id,
        "campaignName": attempt.campaign_name,
        "status": attempt.status.value,
        "attempt": attempt.attempt,
    }
    more = {
        "rows": attempt.rows,
        "seconds": attempt.seconds,
        "errorCode": attempt.error_code,
        "runId": attempt.run_id,
    }
    data |= {name: value for name, value in more.items() if value is not None}
    outcome = attempt.status.value.lower()
    kind = f"export.{outcome}" if attempt.is_final else LOST_TYPE
    return Event(id=f"evt_{attempt.export_id}_{attempt.attempt}_{outcome}", type=kind, at=attempt.ended, data=data)


def _late(record: Deletion) -> Event:
    data = {"deletionId": record.id, "requested": record.requested, "tries": record.tries}
    at = record.requested + DELETION_LATE
    return Event(id=f"evt_{record.id}_late", type="deletion.late", at=at, data=data)
