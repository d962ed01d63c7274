"""How the page may sign in at the token issuer: what the API finds out about it, and what it does not believe."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.api_client import running_api, wait_for
from tests.api_tokens import make_settings
from tests.http_server import serving
from tests.key_server import KeyServer
from vfexport_core.api.page.sign_in import SignInFinder
from vfexport_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def issuer() -> Iterator[KeyServer]:
    with serving(KeyServer()) as server:
        yield server


def address(issuer: KeyServer) -> str:
    return f"http://127.0.0.1:{issuer.server_port}"


def publish(server: KeyServer, **changes: Any) -> None:
    document = {
        "issuer": address(server),
        "authorization_endpoint": "https://login.example/authorize",
        "token_endpoint": "https://token.example:8443/token",
    }
    server.body = json.dumps(document | changes).encode()


def finder(issuer: KeyServer, times: Any = lambda: 0.0) -> SignInFinder:
    return SignInFinder(make_settings(jwt_issuer=address(issuer), oidc_client_id="page"), times)


def test_it_is_as_the_issuer_says_and_asked_for_once(issuer: KeyServer) -> None:
    publish(issuer)
    found = finder(issuer)
    sign_in = found.find()
    assert sign_in is not None
    assert found.find() == sign_in
    assert issuer.fetches == 1
    assert sign_in.token_origin == "https://token.example:8443"
    assert json.loads(sign_in.as_json())["authorizationEndpoint"] == "https://login.example/authorize"


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "http://token.example/"},
        {"token_endpoint": "https://token.example; script-src *"},
        {"token_endpoint": "https://token.example' x"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
    ],
)
def test_a_document_that_cannot_be_trusted_is_none(issuer: KeyServer, changes: dict[str, Any]) -> None:
    publish(issuer, **changes)
    assert finder(issuer).find() is None


@pytest.mark.parametrize("body", [b"[]", b"{", b"null", b'"x"'])
def test_what_is_no_document_is_none(issuer: KeyServer, body: bytes) -> None:
    issuer.body = body
    assert finder(issuer).find() is None


def test_an_issuer_that_was_away_is_asked_again_and_one_that_goes_is_remembered(issuer: KeyServer) -> None:
    now = [0.0]
    found = finder(issuer, lambda: now[0])
    issuer.status = 500
    assert found.find() is None
    assert found.find() is None
    assert issuer.fetches == 1, "it is not asked at once again"
    now[0], issuer.status = 11.0, 200
    publish(issuer)
    assert found.find() is not None
    now[0], issuer.status = 1_000.0, 500
    assert found.find() is not None


def test_a_slow_issuer_keeps_one_who_asks_and_the_others_have_what_is_known(issuer: KeyServer) -> None:
    now = [0.0]
    found = finder(issuer, lambda: now[0])
    publish(issuer)
    known = found.find()
    assert known is not None
    now[0] = 1_000.0
    issuer.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(found.find)
        wait_for(lambda: issuer.fetches == 2)
        assert [found.find() for _ in range(3)] == [known] * 3
        assert not asking.done()
        issuer.gate.set()
        assert asking.result() == known
    assert issuer.fetches == 2


def test_the_page_may_ask_for_the_token_there_and_nobody_else(issuer: KeyServer) -> None:
    publish(issuer)
    with running_api(make_settings(jwt_issuer=address(issuer), oidc_client_id='"><script>')) as api:
        page = api.get("/")
    assert "connect-src 'self' https://token.example:8443;" in page.headers["Content-Security-Policy"]
    assert "<script>" not in page.text
    assert "https://login.example/authorize" in page.text


def test_a_user_is_sent_to_no_issuer_that_is_no_address() -> None:
    with pytest.raises(ConfigurationError, match="VFEXPORT_JWT_ISSUER"):
        SignInFinder(make_settings(jwt_issuer="vfexport", oidc_client_id="page"))
    assert SignInFinder(make_settings(jwt_issuer="vfexport")).find() is None
