"""Keys of a JWKS address: cached, rotated, failing closed; against a real HTTP server on this machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.api_client import running_api
from tests.api_tokens import EC_KEY, RSA_KEY, make_settings, public_pem, signed
from tests.key_server import KeyServer, published, serving_keys
from vfexport_core.api.auth.access import Access
from vfexport_core.api.auth.verification_keys import JwksKeys
from vfexport_core.errors import KeysUnavailable, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterator

NEW_KEY = ec.generate_private_key(ec.SECP256R1())


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with serving_keys() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(server: KeyServer, clock: Clock) -> JwksKeys:
    server.publish(published(RSA_KEY, "one"), published(EC_KEY, "two", use="sig", alg="ES256"))
    return JwksKeys(server.url, clock)


def knows(keys: JwksKeys, kid: str | None, algorithm: str = "RS256") -> bool:
    return bool(list(keys.find(kid, algorithm)))


def test_tokens_are_checked_with_the_published_keys(server: KeyServer) -> None:
    server.publish(published(RSA_KEY, "one"), published(EC_KEY, "two"))
    verifier = Access.from_settings(make_settings(jwt_public_key=None, jwt_jwks_url=server.url)).verifier
    assert verifier.verify(signed(headers={"kid": "one"})).user_id == "admin-1"
    assert verifier.verify(signed(EC_KEY, "ES256", headers={"kid": "two"})).user_id == "admin-1"
    for wrong in (
        signed(),
        signed(headers={"kid": "two"}),
        signed(EC_KEY, "ES256", headers={"kid": "one"}),
        signed(NEW_KEY, "ES256", headers={"kid": "two"}),
        signed(headers={"kid": "foreign"}),
    ):
        with pytest.raises(Unauthenticated):
            verifier.verify(wrong)
    assert server.fetches == 1


def test_known_keys_are_not_fetched_again(keys: JwksKeys, server: KeyServer, clock: Clock) -> None:
    for _ in range(50):
        assert knows(keys, "one")
    clock.now += 299
    assert knows(keys, "two", "ES256")
    assert server.fetches == 1
    clock.now += 2
    assert knows(keys, "one")
    assert server.fetches == 2


def test_an_algorithm_belongs_to_its_key(keys: JwksKeys) -> None:
    assert not knows(keys, "one", "ES256")
    assert not knows(keys, "two", "RS256")
    assert not knows(keys, None)


def test_a_new_key_is_found_and_a_withdrawn_one_forgotten(keys: JwksKeys, server: KeyServer, clock: Clock) -> None:
    assert knows(keys, "one")
    server.publish(published(NEW_KEY, "three"))
    clock.now += 11
    assert knows(keys, "three", "ES256")
    assert not knows(keys, "one")
    server.publish()
    clock.now += 301
    assert not knows(keys, "three", "ES256")


def test_made_up_key_ids_cost_few_fetches(keys: JwksKeys, server: KeyServer, clock: Clock) -> None:
    for number in range(200):
        assert not knows(keys, f"made-up-{number}")
    assert server.fetches == 1
    clock.now += 11
    for number in range(200):
        assert not knows(keys, f"made-up-{number}")
    assert server.fetches == 2


def test_an_outage_is_bridged_for_a_while_then_nothing_can_be_told(
    keys: JwksKeys, server: KeyServer, clock: Clock
) -> None:
    assert knows(keys, "one")
    server.status = 503
    clock.now += 3_500
    assert knows(keys, "one")
    clock.now += 200
    for kid in ("one", "unknown"):
        with pytest.raises(KeysUnavailable):
            knows(keys, kid)
    server.status = 200
    clock.now += 11
    assert knows(keys, "one")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"not json"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"keys": {"kid": "one"}}'),
        (200, b"[" * 100_000),
        (302, b""),
        (404, b""),
        (500, b""),
    ],
)
def test_an_answer_that_is_no_key_set_gives_no_keys(server: KeyServer, status: int, body: bytes) -> None:
    server.status, server.body = status, body
    with pytest.raises(KeysUnavailable):
        knows(JwksKeys(server.url), "one")


def test_no_answer_gives_no_keys() -> None:
    with pytest.raises(KeysUnavailable):
        knows(JwksKeys("http://127.0.0.1:1/keys"), "one")


def test_unusable_keys_are_left_out(server: KeyServer, clock: Clock) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    server.publish(
        "nonsense",
        {"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric"},
        {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "broken"},
        published(RSA_KEY, "for encryption", use="enc"),
        published(RSA_KEY, "for another algorithm", alg="PS256"),
        published(RSA_KEY, None),
        published(weak, "weak"),
        published(ec.generate_private_key(ec.SECP384R1()), "another curve"),
        published(RSA_KEY, "good"),
    )
    keys = JwksKeys(server.url, clock)
    for kid in ("symmetric", "broken", "for encryption", "for another algorithm", "weak", "another curve"):
        assert not knows(keys, kid)
        assert not knows(keys, kid, "ES256")
    assert knows(keys, "good")


def test_a_refresh_holds_nobody_up(keys: JwksKeys, server: KeyServer, clock: Clock) -> None:
    assert knows(keys, "one")
    server.gate.clear()
    clock.now += 400
    with ThreadPoolExecutor(1) as pool:
        refreshing = pool.submit(knows, keys, "one")
        try:
            while server.fetches < 2:
                assert not refreshing.done()
            assert knows(keys, "two", "ES256")
            assert not refreshing.done(), "the look-up waited for the fetch to end"
        finally:
            server.gate.set()
        assert refreshing.result(60)
    assert server.fetches == 2


def test_the_first_requests_share_one_fetch(keys: JwksKeys, server: KeyServer) -> None:
    server.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(knows, keys, "one") for _ in range(8)]
        while server.fetches == 0:
            pass
        server.gate.set()
        assert all(future.result(60) for future in waiting)
    assert server.fetches == 1


HEADERS = b"HTTP/1.1 200 OK\r\n"
BODY = HEADERS + b'\r\n{"keys": []}'


@pytest.mark.parametrize("begun", [b"HTTP/1.1 ", HEADERS + b"X: ", BODY], ids=["first line", "headers", "body"])
def test_a_server_that_trickles_is_broken_off(server: KeyServer, begun: bytes) -> None:
    server.endless = begun
    keys = JwksKeys(server.url, fetch_seconds=0.3)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(knows, keys, "one") for _ in range(8)]
        assert {type(future.exception(30)) for future in waiting} == {KeysUnavailable}
    assert server.broken_off.wait(120)
    assert server.fetches == 1


def test_of_a_key_set_without_end_only_the_beginning_is_read(server: KeyServer) -> None:
    server.endless, server.block, server.pause = BODY, b" " * 2**20, 0.0
    with pytest.raises(KeysUnavailable):
        knows(JwksKeys(server.url), "one")
    assert server.broken_off.wait(120)
    assert server.sent < 2**25


def test_a_rotated_key_that_cannot_be_fetched_is_not_refused(keys: JwksKeys, server: KeyServer, clock: Clock) -> None:
    assert knows(keys, "one")
    server.status = 503
    clock.now += 11
    with pytest.raises(KeysUnavailable):
        knows(keys, "three", "ES256")
    assert knows(keys, "one")


def test_without_keys_requests_are_unavailable_unless_another_key_has_signed(server: KeyServer) -> None:
    server.status = 503
    with running_api(make_settings(jwt_public_key=public_pem(EC_KEY), jwt_jwks_url=server.url)) as api:
        response = api.get("/export-types", token=signed(headers={"kid": "one"}))
        assert (response.status_code, response.json()["error"]["code"]) == (503, "KeysUnavailable")
        assert int(response.headers["Retry-After"]) >= 1
        assert "127.0.0.1" not in response.text
        assert api.get("/export-types", token=signed(EC_KEY, "ES256", headers={"kid": "any"})).status_code == 200
        assert api.get("/export-types", token=signed()).status_code == 401
