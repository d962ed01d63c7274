"""Signing in at a token issuer, which this is the smallest possible one of."""

from __future__ import annotations

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.api_client import wait_for
from tests.api_tokens import AUDIENCE, RSA_KEY, signed
from tests.browser.conftest import serving
from tests.http_server import serving as serving_http
from tests.key_server import published
from vfexport_core.api.app import create_app
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.conftest import Service

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]

CLIENT = "exports-page"


class Issuer(ThreadingHTTPServer):
    """Lets everybody in who comes with a challenge, and gives a token to who knows the answer to it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: dict[str, str] = {}
        self.refuses = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:
        parts, url = urlsplit(self.path), self.server.url
        if parts.path == "/keys":
            self._send({"keys": [published(RSA_KEY, "k")]})
        elif parts.path == "/authorize":
            self.server.asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            answer = {"state": self.server.asked["state"], "iss": url}
            answer |= {"error": "access_denied"} if self.server.refuses else {"code": "the-code"}
            self.send_response(302)
            self.send_header("Location", f"{self.server.asked['redirect_uri']}?{urlencode(answer)}")
            self.end_headers()
        else:
            self._send({"issuer": url, "authorization_endpoint": f"{url}/authorize", "token_endpoint": f"{url}/token"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        sent = {name: values[0] for name, values in parse_qs(body).items()}
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.server.asked["code_challenge"]
        assert (sent["code"], sent["client_id"], sent["redirect_uri"]) == (
            "the-code",
            CLIENT,
            self.server.asked["redirect_uri"],
        )
        token = signed(headers={"kid": "k"}, iss=self.server.url, sub="grace", permissions={"*": ["REPORT"]})
        self._send({"access_token": token, "token_type": "Bearer"})

    def _send(self, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving_http(Issuer()) as issuer:
        yield issuer


@pytest.fixture
def page_url(service: Service, issuer: Issuer) -> Iterator[str]:
    keys = {"jwt_issuer": issuer.url, "jwt_audience": AUDIENCE, "jwt_jwks_url": f"{issuer.url}/keys"}
    settings = load_settings(None, **keys, oidc_client_id=CLIENT, dev_mode=False)
    with serving(create_app(settings, database=service.database)) as url:
        yield url


def text(browser: Any, selector: str) -> str:
    return browser.find_element("css selector", selector).text


def sign_in(browser: Any, address: str) -> None:
    browser.get("about:blank")
    browser.get(address)
    wait_for(lambda: browser.find_element("css selector", "#issuer-sign-in").is_displayed())
    browser.find_element("css selector", "#issuer-sign-in").click()


def test_one_signs_in_at_the_issuer_and_comes_back(
    browser: Any, service: Service, issuer: Issuer, page_url: str
) -> None:
    campaign = service.campaign("Issued")
    sign_in(browser, f"{page_url}/#campaign={campaign}")
    wait_for(lambda: "Signed in as grace" in text(browser, "header"))
    asked = issuer.asked
    assert (asked["client_id"], asked["audience"], asked["scope"]) == (CLIENT, AUDIENCE, "openid")
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert browser.current_url == f"{page_url}/#campaign={campaign}", "neither the code nor the state is left there"
    wait_for(lambda: text(browser, "#live") == "live")
    stored = browser.execute_script("return Object.keys({...localStorage, ...sessionStorage})")
    assert stored == ["vfexport.token"]


def test_a_refusal_and_an_answer_that_nobody_asked_for_sign_nobody_in(
    browser: Any, issuer: Issuer, page_url: str
) -> None:
    issuer.refuses = True
    sign_in(browser, page_url)
    wait_for(lambda: "The issuer refused: access_denied." in text(browser, "#problem"))
    browser.get(f"{page_url}/?code=stolen&state=made-up")
    wait_for(lambda: "This sign-in was not begun here." in text(browser, "#problem"))
    assert browser.find_element("css selector", "#sign-in").is_displayed()
    assert "stolen" not in browser.current_url
    assert browser.execute_script("return sessionStorage.length") == 0
