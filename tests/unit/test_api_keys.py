"""Keys of a JWKS address: cached, rotated, failing closed; against a real HTTP server on this machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.api_tokens import EC_KEY, RSA_KEY, make_settings, signed
from tests.key_server import KeyServer, published, serving_keys
from vfexport_core.api.auth.access import Access
from vfexport_core.api.auth.keys import JwksKeys
from vfexport_core.errors import Unauthenticated

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


def test_an_outage_is_bridged_for_a_while_then_all_is_refused(keys: JwksKeys, server: KeyServer, clock: Clock) -> None:
    assert knows(keys, "one")
    server.status = 503
    clock.now += 3_500
    assert knows(keys, "one")
    clock.now += 200
    assert not knows(keys, "one")
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
    assert not knows(JwksKeys(server.url), "one")


def test_no_answer_gives_no_keys() -> None:
    assert not knows(JwksKeys("http://127.0.0.1:1/keys"), "one")


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
            assert keys._lock.locked(), "the look-up waited for the fetch to end"
        finally:
            server.gate.set()
        assert refreshing.result(10)
    assert server.fetches == 2


def test_the_first_requests_share_one_fetch(keys: JwksKeys, server: KeyServer) -> None:
    server.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(knows, keys, "one") for _ in range(8)]
        while server.fetches == 0:
            pass
        server.gate.set()
        assert all(future.result(10) for future in waiting)
    assert server.fetches == 1
