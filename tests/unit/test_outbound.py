"""Requests to webhooks: where they may go, how they are signed, how long they may take."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.http_server import serving
from tests.webhook_receiver import SECRET, Receiver, receiving, webhook
from vfexport_core.errors import AddressRefused, NotificationFailed, WebhookGone
from vfexport_core.outbound.addresses import is_allowed, resolve
from vfexport_core.outbound.webhook import WebhookMessage, send, signed_headers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER_SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
MESSAGE = WebhookMessage("evt_1", b'{"type":"test"}')
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::8.8.8.8"]
PRIVATE = ["127.0.0.1", "127.8.9.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1"]
PRIVATE += ["64:ff9b::10.0.0.1"]
NEVER = {
    "link-local": ["169.254.1.1", "fe80::1", "fe80::1%eth0"],
    "metadata": ["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"],
    "metadata by IPv6": ["fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42"],
    "multicast": ["224.0.0.1", "239.1.2.3", "ff02::1", "ff0e::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "192.88.99.1"],
    "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "::127.0.0.1", "::8.8.8.8"],
    "tunnels": ["2002:7f00:1::1", "2001:0:7f00:1::1", "64:ff9b:1::1", "64:ff9b::169.254.169.254"],
    "documentation": ["2001:db8::1", "3fff::1"],
    "site-local": ["fec0::1"],
    "no address": ["", "localhost", "8.8.8"],
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.mark.parametrize("allow_private", [False, True])
def test_only_public_addresses_are_allowed_and_private_ones_if_that_is_said(*, allow_private: bool) -> None:
    assert [one for one in PUBLIC if not is_allowed(one, allow_private=allow_private)] == []
    assert {is_allowed(one, allow_private=allow_private) for one in PRIVATE} == {allow_private}
    for kind, addresses in NEVER.items():
        assert [one for one in addresses if is_allowed(one, allow_private=allow_private)] == [], kind


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "::1",
        "::ffff:127.0.0.1",
        "0",
    ],
)
def test_whatever_means_a_loopback_address_is_refused(host: str) -> None:
    with pytest.raises((AddressRefused, OSError)) as raised:
        resolve(host, 443, allow_private=False)
    assert host not in {"127.0.0.1", "localhost", "2130706433"} or raised.type is AddressRefused


def test_a_name_with_one_address_that_is_not_allowed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, 1, 6, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        resolve("hooks.example.org", 443, allow_private=False)
    assert [place for _, place in resolve("hooks.example.org", 443, allow_private=True)] == [a[4] for a in answers]


def test_a_request_goes_to_the_address_that_was_checked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up once: it may mean something else a moment later."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        place = ("127.0.0.1", receiver.server_port) if len(asked) == 1 else ("192.0.2.1", port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    send(receiver.settings(url="http://hooks.example.org/x"), MESSAGE)
    assert asked == ["hooks.example.org"]
    assert receiver.received[0].headers["host"] == "hooks.example.org"


def test_nothing_is_sent_to_the_own_network_unless_that_is_allowed(receiver: Receiver) -> None:
    with pytest.raises(AddressRefused):
        send(receiver.settings(allow_private=False), MESSAGE)
    assert receiver.received == []
    send(receiver.settings(), MESSAGE)
    (request,) = receiver.received
    assert (request.path, request.body) == ("/hooks/one?key=k1", MESSAGE.body)
    assert request.headers["content-type"] == "application/json"


def test_the_signature_is_that_of_the_published_example() -> None:
    message = WebhookMessage("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    assert signed_headers([SECRET], message, 1614265330) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_a_receiver_with_any_of_the_secrets_accepts_it(receiver: Receiver, secret: str) -> None:
    """As the scheme's own library looks at it."""
    send(receiver.settings(secrets=[OTHER_SECRET, SECRET]), MESSAGE)
    (request,) = receiver.received
    assert Webhook(secret).verify(request.body, request.headers) == {"type": "test"}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body + b" ", request.headers)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_an_acceptance(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    send(receiver.settings(), MESSAGE)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 429, 500, 503])
def test_any_other_answer_is_none_and_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    receiver.answer_headers = {"Location": receiver.url, "Retry-After": "77"}
    with pytest.raises(NotificationFailed, match=f"answered {status}") as raised:
        send(receiver.settings(), MESSAGE)
    assert len(receiver.received) == 1
    assert raised.value.retry_after == 77
    assert ("not followed" in raised.value.message) == (status < 400)


def test_gone_is_told_apart(receiver: Receiver) -> None:
    receiver.statuses = [410]
    with pytest.raises(WebhookGone):
        send(receiver.settings(), MESSAGE)


@pytest.mark.parametrize(
    "block",
    [b"x", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: b"],
    ids=["no line", "continue", "headers"],
)
def test_an_answer_without_end_is_broken_off(receiver: Receiver, block: bytes) -> None:
    receiver.trickle = block
    with pytest.raises(NotificationFailed):
        send(receiver.settings(), MESSAGE, seconds=0.3)
    assert receiver.broken_off.wait(120)


def test_a_message_leaves_no_thread_behind(receiver: Receiver) -> None:
    before = set(threading.enumerate())
    for _ in range(3):
        send(receiver.settings(), MESSAGE)
    assert [one for one in threading.enumerate() if isinstance(one, threading.Timer) and one not in before] == []


def test_without_a_thread_for_its_end_a_message_is_not_sent(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Timer, "start", refuse)
    with pytest.raises(NotificationFailed, match="gave no answer: OSError"):
        send(receiver.settings(), MESSAGE)
    assert receiver.received == []


def test_nobody_there_is_a_failure_that_names_no_address() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # without listen(): the port is refused, and no one else's meanwhile
        there = webhook(f"http://127.0.0.1:{deaf.getsockname()[1]}/s3cret", allow_http=True, allow_private=True)
        with pytest.raises(NotificationFailed, match="ConnectionRefusedError") as raised:
            send(there, MESSAGE)
    assert "s3cret" not in raised.value.description
    with pytest.raises(NotificationFailed, match="gaierror"):
        send(webhook("https://no-such-host.invalid/x"), MESSAGE)


def test_a_certificate_must_be_of_the_name_and_of_somebody_who_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path, "localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    receiver = Receiver()
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    with serving(receiver):
        there = f"https://localhost:{receiver.server_port}/x"
        with pytest.raises(NotificationFailed, match="SSLCertVerificationError"):
            send(webhook(there, allow_private=True), MESSAGE)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        send(webhook(there, allow_private=True), MESSAGE)
        with pytest.raises(NotificationFailed, match="SSLCertVerificationError"):
            send(webhook(there.replace("localhost", "127.0.0.1"), allow_private=True), MESSAGE)
    assert len(receiver.received) == 1


def self_signed(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


WRONG: dict[str, dict[str, Any]] = {
    "http": {"url": "http://hooks.example.org/x"},
    "no address": {"url": "hooks.example.org"},
    "file": {"url": "file:///etc/passwd", "allow_http": True},
    "no host": {"url": "https:///x"},
    "user": {"url": "https://ann:s3cret@hooks.example.org/"},
    "fragment": {"url": "https://hooks.example.org/#x"},
    "line": {"url": "https://hooks.example.org/x\r\nX: y"},
    "port": {"url": "https://hooks.example.org:99999/"},
    "secret for a port": {"url": "https://hooks.example.org:T0s3cret/B1"},
    "secret with a slash": {"url": "https://ann:s3cret/word@hooks.example.org/x"},
    "no number in brackets": {"url": "https://[s3cret]/x"},
    "full-width": {"url": "https://hooks.example.org\uff0fs3cret"},
    "no secret": {"secrets": ()},
    "short secret": {"secrets": ("whsec_c2hvcnQ=",)},
    "no prefix": {"secrets": (SECRET.removeprefix("whsec_"),)},
    "no base64": {"secrets": ("whsec_" + "!" * 40,)},
    "event": {"events": ("export.begun",)},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_webhook_is_refused_before_anything_is_sent(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"(?s).*") as raised:
        webhook(**WRONG[wrong])
    assert raised.type.__name__ == "ValidationError"
    assert "s3cret" not in str(raised.value), "the address may be a secret"
