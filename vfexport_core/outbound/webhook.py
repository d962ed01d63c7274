"""Sending one message to a webhook, signed by the Standard Webhooks scheme where it has secrets.

Only the status of the answer is looked at: nothing of what a receiver says is read, kept or logged. Its address may be
a secret (Slack's are), so no error repeats it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vfexport_core.errors import NotificationFailed, WebhookGone
from vfexport_core.outbound.addresses import resolve
from vfexport_core.outbound.connection import BoundedConnection, Deadline
from vfexport_core.settings import webhook_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfexport_core.settings import WebhookSettings

SECONDS = 5.0
"""So long may connecting take, so long the encryption of the connection, and so long the answer."""

_HTTPS_PORT, _HTTP_PORT = 443, 80
_LONGEST_NUMBER = 9
_OK, _REDIRECT, _BAD, _GONE = 200, 300, 400, 410


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """What is sent: `id` is the same whenever it is sent again, so that a receiver can tell."""

    id: str
    body: bytes


def send(webhook: WebhookSettings, message: WebhookMessage, *, seconds: float = SECONDS) -> None:
    """Deliver a message; returns once the receiver has said that it has it (2xx).

    Raises NotificationFailed when it has not, WebhookGone when it wants nothing more (410), AddressRefused when its
    host has an address that is not allowed.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "vfexport"}
    headers |= signed_headers([secret.get_secret_value() for secret in webhook.secrets], message, int(time.time()))
    deadline = Deadline()
    try:
        with deadline:
            status, retry_after = _answer(webhook, message.body, headers, deadline, seconds)
    except (OSError, HTTPException, ValueError) as error:
        reason = TimeoutError.__name__ if deadline.is_over else type(error).__name__
        raise NotificationFailed(f"the webhook gave no answer: {reason}") from None
    if _OK <= status < _REDIRECT:
        return
    if status == _GONE:
        raise WebhookGone("the webhook answered 410: it is there no longer")
    redirects = ": redirects are not followed" if _REDIRECT <= status < _BAD else ""
    raise NotificationFailed(f"the webhook answered {status}{redirects}", retry_after=retry_after)


def signed_headers(secrets: Iterable[str], message: WebhookMessage, timestamp: int) -> dict[str, str]:
    """Return the headers of the Standard Webhooks scheme, with a signature by each secret: any one is good enough."""
    signed = f"{message.id}.{timestamp}.".encode() + message.body
    signatures = [
        f"v1,{base64.b64encode(hmac.new(webhook_key(secret), signed, hashlib.sha256).digest()).decode()}"
        for secret in secrets
    ]
    headers = {"webhook-id": message.id, "webhook-timestamp": str(timestamp)}
    return headers | ({"webhook-signature": " ".join(signatures)} if signatures else {})


def _answer(
    webhook: WebhookSettings, body: bytes, headers: dict[str, str], deadline: Deadline, seconds: float
) -> tuple[int, int | None]:
    """Return the status of the answer, and after how many seconds the receiver wants to be asked again."""
    url = urlsplit(webhook.url.get_secret_value())
    host, is_encrypted = url.hostname or "", url.scheme == "https"
    port = url.port or (_HTTPS_PORT if is_encrypted else _HTTP_PORT)
    addresses = resolve(host, port, allow_private=webhook.allow_private)
    connection = (_Encrypted if is_encrypted else _Plain)(deadline, host, port, timeout=seconds)
    connection.addresses = addresses
    try:
        target = url.path or "/"
        connection.request("POST", f"{target}?{url.query}" if url.query else target, body, headers)
        answer = connection.getresponse()
        if deadline.is_over:  # the end of its headers looks like any other
            raise TimeoutError
        wait = answer.getheader("Retry-After", "")
        return answer.status, int(wait) if wait.isdecimal() and len(wait) < _LONGEST_NUMBER else None
    finally:
        connection.close()


class _Pinned(HTTPConnection):
    """Connects to one of `addresses`, which were checked, whatever its host's name means by now."""

    addresses: list[tuple[socket.AddressFamily, Any]]

    def connect(self) -> None:
        until = time.monotonic() + (self.timeout or 0.0)
        failure: OSError = TimeoutError()
        for family, place in self.addresses:
            left = until - time.monotonic()
            if left <= 0:
                break
            made = socket.socket(family, socket.SOCK_STREAM)
            try:
                made.settimeout(left)
                made.connect(place)
            except OSError as error:
                made.close()
                failure = error
            else:
                made.settimeout(self.timeout)
                self.sock = made
                return
        raise failure


class _Plain(BoundedConnection, _Pinned):
    pass


class _Encrypted(BoundedConnection, HTTPSConnection, _Pinned):
    pass
