"""Notifications: may the webhooks be posted to from here, and is anything left that could not be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vfexport_core.doctor.checks import Check, Finding, failed, ok, warning
from vfexport_core.errors import AddressRefused
from vfexport_core.mongo.client import opened
from vfexport_core.outbound.addresses import resolve
from vfexport_core.queue.outbox import DeliveryStatus, Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfexport_core.settings import Settings, WebhookSettings

_SECONDS = 30.0
_ANY_PORT = 0


def notification_checks(settings: Settings) -> list[Check]:
    """Return the checks of the webhooks that are set, and of the outbox."""

    def outbox() -> Iterator[Finding]:
        with opened(settings) as database:
            yield from _outbox(Outbox(database), settings)

    return [
        Check("webhooks", _SECONDS, lambda: _webhooks(settings)),
        Check("notifications", _SECONDS, outbox),
    ]


def _webhooks(settings: Settings) -> Iterator[Finding]:
    if not settings.webhooks:
        yield ok("webhooks", "none is set: nobody is told of exports that end")
    for name, webhook in settings.webhooks.items():
        yield _webhook(name, webhook)


def _webhook(name: str, webhook: WebhookSettings) -> Finding:
    """Look the host up; nothing is sent. The rest of the address may be a secret."""
    host = urlsplit(webhook.url.get_secret_value()).hostname or ""
    try:
        resolve(host, _ANY_PORT, allow_private=webhook.allow_private)
    except AddressRefused as error:
        return failed("webhooks", f"{name}: {host}: {error.message}", error.hint)
    except OSError as error:
        hint = "Correct its URL, or see whether names are resolved here."
        return failed("webhooks", f"{name}: {host} has no address: {type(error).__name__}", hint)
    return ok("webhooks", f"{name}: {host}; `vfexport notifications test {name}` sends it a message")


def _outbox(outbox: Outbox, settings: Settings) -> Iterator[Finding]:
    counts = outbox.counts()
    dead = {name: count for (name, status), count in counts.items() if status is DeliveryStatus.DEAD}
    for name, count in dead.items():
        yield failed(
            "notifications",
            f"{count} to webhook {name} were given up",
            "`vfexport notifications list` says why; once that is mended, `vfexport notifications resend --all`.",
        )
    waiting = {name: count for (name, status), count in counts.items() if status is DeliveryStatus.PENDING}
    for name in waiting.keys() - settings.webhooks.keys():
        yield warning(
            "notifications",
            f"{waiting[name]} wait for webhook {name}, which is not set",
            f"Set it again, or `vfexport notifications discard --all --webhook {name} --status pending`.",
        )
    if not dead and waiting.keys() <= settings.webhooks.keys():
        yield ok("notifications", f"{sum(waiting.values())} to be sent, none given up")
