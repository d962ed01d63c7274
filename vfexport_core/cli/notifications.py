"""`vfexport notifications`: what webhooks were told, what could not be told, and sending it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from vfexport_core.cli.errors import FAILED
from vfexport_core.cli.report import table, tell
from vfexport_core.queue.models import iso
from vfexport_core.queue.outbox import DeliveryStatus
from vfexport_core.services import notifications as service
from vfexport_core.services.bootstrap import Backend
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.queue.outbox import Delivery

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_webhook = click.option("--webhook", metavar="NAME", help="Only of this webhook.")
_all = click.option("--all", "everything", is_flag=True, help="All there are, instead of naming them.")
_ids = click.argument("ids", metavar="[NOTIFICATION]...", nargs=-1)


@click.group()
def notifications() -> None:
    """List notifications, send them, send dead ones again. Needs VFEXPORT_MONGO_URI.

    They are sent by Dagster's sensor `notifications`, to the webhooks that VFEXPORT_WEBHOOKS__* name.
    """


@notifications.command(name="list")
@click.option(
    "--status",
    type=click.Choice([*DeliveryStatus], case_sensitive=False),
    default=DeliveryStatus.DEAD.value,
    show_default=True,
    help="Those that were given up (dead), are to be sent (pending), were sent or discarded.",
)
@_webhook
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="As many at most.")
@_as_json
def list_(*, status: str, webhook: str | None, limit: int, as_json: bool) -> None:
    """List notifications, the oldest event first; those that were given up unless told otherwise."""
    with Backend(load_settings()) as backend:
        found = backend.outbox.find(DeliveryStatus(status), webhook=webhook, limit=limit)
    if as_json:
        click.echo(json.dumps([_wire(delivery) for delivery in found], ensure_ascii=False))
        return
    rows = [
        [one.id, iso(one.event.at), one.event.type, str(one.tries), "" if one.problem is None else one.problem]
        for one in found
    ]
    click.echo("\n".join(table(["NOTIFICATION", "OF", "TYPE", "TRIES", "PROBLEM"], rows)))


@notifications.command()
@_ids
@_all
@_webhook
@_as_json
def resend(ids: tuple[str, ...], *, everything: bool, webhook: str | None, as_json: bool) -> None:
    """Have notifications that were given up sent again, with the same id, as often as new ones."""
    _change(
        "resent", lambda backend, those: backend.outbox.send_again(those, webhook=webhook), ids, everything, as_json
    )


@notifications.command()
@_ids
@_all
@_webhook
@click.option(
    "--status",
    type=click.Choice([DeliveryStatus.DEAD, DeliveryStatus.PENDING], case_sensitive=False),
    help="Only those that were given up (dead; so does --all unless told otherwise), or are to be sent (pending).",
)
@_as_json
def discard(ids: tuple[str, ...], *, everything: bool, webhook: str | None, status: str | None, as_json: bool) -> None:
    """Forget notifications that were given up, or are still to be sent: nobody is told, and no alert speaks of them."""
    only = status or (DeliveryStatus.DEAD if everything else None)
    given_up = (DeliveryStatus.DEAD, DeliveryStatus.PENDING) if only is None else (DeliveryStatus(only),)

    def change(backend: Backend, those: list[str] | None) -> int:
        return backend.outbox.discard(those, webhook=webhook, given_up=given_up)

    _change("discarded", change, ids, everything, as_json)


@notifications.command()
@_as_json
def send(*, as_json: bool) -> None:
    """Look once, as the sensor does: for what has ended, and for what is due to be sent.

    Exit status 1 when something could not be sent; it is tried again by a later look.
    """
    with Backend(load_settings()) as backend:
        backend.check_initialised()
        looked = service.look(backend)
    tell({"new": looked.new, "sent": looked.sent, "problems": [*looked.problems]}, as_json=as_json)
    if looked.problems:
        raise click.exceptions.Exit(FAILED)


@notifications.command()
@click.argument("webhook", metavar="WEBHOOK")
@_as_json
def test(webhook: str, *, as_json: bool) -> None:
    """Send a message of type `test` to a webhook, by its name in the settings, and say whether it was taken."""
    with Backend(load_settings()) as backend:
        message_id = service.send_test(backend, webhook)
    tell({"sent": message_id}, as_json=as_json)


def _change(
    done: str, change: Callable[[Backend, list[str] | None], int], ids: tuple[str, ...], everything: bool, as_json: bool
) -> None:
    if everything == bool(ids):
        raise click.UsageError("Name notifications, or give --all.")
    with Backend(load_settings()) as backend:
        count = change(backend, None if everything else list(ids))
    tell({done: count}, as_json=as_json)
    if count < len(set(ids)):  # of those that were named, some are not there or not in a state for it
        raise click.exceptions.Exit(FAILED)


def _wire(delivery: Delivery) -> dict[str, Any]:
    fields = {
        "id": delivery.id,
        "webhook": delivery.webhook,
        "messageId": delivery.event.id,
        "type": delivery.event.type,
        "at": iso(delivery.event.at),
        "status": delivery.status.value,
        "tries": delivery.tries,
        "problem": delivery.problem,
        "exportId": delivery.event.data.get("exportId"),
        "campaignId": delivery.event.data.get("campaignId"),
    }
    return {name: value for name, value in fields.items() if value is not None}
