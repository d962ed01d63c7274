"""Tokens that must be refused, and what the good ones allow."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import SecretStr

from tests.api_client import Api, running_api
from tests.api_tokens import (
    AUDIENCE,
    CAMPAIGN,
    EC_KEY,
    FOREIGN_RSA_KEY,
    ISSUER,
    OTHER,
    RSA_KEY,
    claims,
    make_settings,
    private_pem,
    public_pem,
    signed,
)
from vfexport_core.api.app import create_app
from vfexport_core.api.auth.access import Access
from vfexport_core.api.auth.tokens import Caller, read_claims
from vfexport_core.errors import ConfigurationError, MissingPermissions, Unauthenticated
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with running_api(make_settings()) as api:
        yield api


def packed(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: Any, payload: Any, sign: Any = None) -> str:
    text = f"{packed(header)}.{packed(payload)}"
    return f"{text}.{packed(sign(text.encode()) if sign else b'')}"


def rs256(text: bytes) -> bytes:
    return jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(text, RSA_KEY)


def hmac_with(secret: str) -> Any:
    return lambda text: hmac.digest(secret.encode(), text, hashlib.sha256)


NOW = int(time.time())
PEM = public_pem(RSA_KEY)
GOOD = signed(exp=int(time.time()) + 86_400)  # for as long as the suite may take
HEAD, BODY, SIGNATURE = GOOD.split(".")
REFUSED = {
    "alg none": by_hand({"alg": "none", "typ": "JWT"}, claims()),
    "alg NONE": by_hand({"alg": "NONE"}, claims()),
    "alg missing": by_hand({"typ": "JWT"}, claims(), rs256),
    "alg not text": by_hand({"alg": ["RS256"]}, claims(), rs256),
    "no signature": f"{HEAD}.{BODY}.",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.{SIGNATURE}",
    "hmac with the public key": by_hand({"alg": "HS256"}, claims(), hmac_with(PEM)),
    "hmac with the public key, stripped": by_hand({"alg": "HS256"}, claims(), hmac_with(PEM.strip())),
    "hmac called rs256": by_hand({"alg": "RS256"}, claims(), hmac_with(PEM)),
    "foreign key": signed(FOREIGN_RSA_KEY),
    "key in the header": signed(
        FOREIGN_RSA_KEY, headers={"jwk": json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(FOREIGN_RSA_KEY.public_key()))}
    ),
    "key address in the header": signed(FOREIGN_RSA_KEY, headers={"jku": "http://127.0.0.1:1/keys", "kid": "x"}),
    "another algorithm of the same key": jwt.encode(claims(), RSA_KEY, algorithm="PS256"),
    "a longer hash": signed(algorithm="RS512"),
    "es256 where the key is rsa": signed(EC_KEY, "ES256"),
    "an unknown critical header": by_hand({"alg": "RS256", "crit": ["x"], "x": 1}, claims(), rs256),
    "kid not text": by_hand({"alg": "RS256", "kid": {"$ne": None}}, claims(), rs256),
    "changed claims": f"{HEAD}.{packed(claims(sub='root'))}.{SIGNATURE}",
    "changed signature": f"{HEAD}.{BODY}.{SIGNATURE[:-6]}AAAAAA",
    "expired": signed(exp=NOW - 60),
    "no exp": signed(exp=None),
    "exp text": signed(exp="soon"),
    "exp infinite": by_hand({"alg": "RS256"}, json.dumps(claims(exp=9e999)).encode(), rs256),
    "exp digits": by_hand({"alg": "RS256"}, claims(exp=str(NOW + 600)), rs256),
    "exp far away": signed(exp=10**99),
    "exp boolean": by_hand({"alg": "RS256"}, claims(exp=True), rs256),
    "nbf text": by_hand({"alg": "RS256"}, claims(nbf=str(NOW - 60)), rs256),
    "iat text": by_hand({"alg": "RS256"}, claims(iat=str(NOW - 60)), rs256),
    "exp list": by_hand({"alg": "RS256"}, claims(exp=[NOW + 60]), rs256),
    "not yet valid": signed(nbf=NOW + 6_000),
    "issued in the future": signed(iat=NOW + 6_000),
    "wrong issuer": signed(iss="https://other.example"),
    "no issuer": signed(iss=None),
    "issuer list": by_hand({"alg": "RS256"}, claims(iss=[ISSUER]), rs256),
    "wrong audience": signed(aud="other"),
    "no audience": signed(aud=None),
    "audience part": signed(aud=AUDIENCE[:-1]),
    "no sub": signed(sub=None),
    "empty sub": signed(sub=""),
    "sub number": by_hand({"alg": "RS256"}, claims(sub=7), rs256),
    "sub with a line end": signed(sub="a\nb"),
    "long sub": signed(sub="a" * 257),
    "permissions list": signed(permissions=["REPORT"]),
    "permissions text": signed(permissions="REPORT"),
    "permission not in a list": signed(permissions={CAMPAIGN: "REPORT"}),
    "permission not text": signed(permissions={CAMPAIGN: ["REPORT", 1]}),
    "supreme text": signed(supreme="true"),
    "supreme number": signed(supreme=1),
    "claims not an object": by_hand({"alg": "RS256"}, ["REPORT"], rs256),
    "claims not json": by_hand({"alg": "RS256"}, b"{", rs256),
    "header not an object": by_hand([], claims(), rs256),
    "header deeply nested": f"{packed(b'[' * 5_000)}.{BODY}.{SIGNATURE}",
    "claims deeply nested": by_hand({"alg": "RS256"}, b'{"a":' + b"[" * 4_000, rs256),
    "not base64": "a.b!.c",
    "unicode": "ä.ö.ü",
    "oversized": signed(extra="x" * 9_000),
    "empty": "",
    "blank": " ",
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_a_bad_token_is_refused(api: Api, token: str) -> None:
    response = api.get("/export-types", headers={"Authorization": b"Bearer " + token.encode()})
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "Unauthenticated"
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert len(token) < 20 or token not in response.text


# Without the token: the processes of a test run begin at different seconds and must agree on the names of all tests.
@pytest.mark.parametrize("form", ["", "Bearer", "bearer ", "Basic YTpi", "{}", "Bearer {} x", "Token {}"])
def test_another_authorization_is_refused(api: Api, form: str) -> None:
    header = form.format(GOOD)
    assert api.get("/export-types", headers={"Authorization": header}).status_code == 401


def test_no_authorization_is_refused(api: Api) -> None:
    response = api.get("/export-types")
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert api.get(f"/export-types?access_token={GOOD}").status_code == 401


def test_two_authorizations_are_refused(api: Api) -> None:
    twice = [("Authorization", f"Bearer {GOOD}"), ("Authorization", "Bearer x")]
    assert api.get("/export-types", headers=twice).status_code == 401


def test_a_good_token_is_accepted(api: Api) -> None:
    # Each made when it is needed: a second or two of leeway are soon over on a busy machine.
    for make in (
        lambda: GOOD,
        lambda: signed(aud=["other", AUDIENCE]),
        lambda: signed(exp=int(time.time()) - 1),
        lambda: signed(exp=time.time() + 600.5, iat=time.time() - 0.5),
        lambda: signed(nbf=int(time.time()) + 3),
        lambda: signed(headers={"kid": "any"}),
    ):
        assert api.get("/export-types", token=make()).status_code == 200
    assert api.get("/export-types", headers={"Authorization": f"bearer  {GOOD}"}).status_code == 200


def test_an_ec_key_is_good_for_es256_only() -> None:
    with running_api(make_settings(jwt_public_key=public_pem(EC_KEY).replace("\n", "\\n"))) as api:
        assert api.get("/export-types", token=signed(EC_KEY, "ES256")).status_code == 200
        assert api.get("/export-types", token=GOOD).status_code == 401
        assert (
            api.get("/export-types", token=signed(ec.generate_private_key(ec.SECP256R1()), "ES256")).status_code == 401
        )


def test_permissions_are_per_campaign(api: Api) -> None:
    refused = [
        signed(permissions={OTHER: ["REPORT"]}),
        signed(permissions={}),
        signed(permissions=None),
        signed(permissions={CAMPAIGN: []}),
        signed(permissions={CAMPAIGN: ["report", "READ"], "**": ["REPORT"]}),
        signed(permissions=None, supreme=True),
    ]
    for token in refused:
        for method, path in (
            ("GET", f"/campaigns/{CAMPAIGN}/exports"),
            ("GET", f"/campaigns/{CAMPAIGN}/exports/{OTHER}"),
            ("POST", f"/campaigns/{CAMPAIGN}/exports"),
        ):
            response = api.call(method, path, token=token)
            assert (response.status_code, response.json()["error"]["code"]) == (403, "MissingPermissions")


def test_the_token_comes_before_the_permission_before_the_request(api: Api) -> None:
    bad = {"content": b"{", "params": {"limit": "x"}}
    path = "/campaigns/not-an-id/exports"
    for method in ("GET", "POST"):
        assert api.call(method, path, **bad).status_code == 401
        assert api.call(method, path, token=signed(), **bad).status_code == 403
        anywhere = signed(permissions={"*": ["REPORT"]})
        assert api.call(method, path, token=anywhere, **bad).status_code == 400


def test_a_caller_may_report_where_the_claims_say_so() -> None:
    caller = read_claims(claims(permissions={CAMPAIGN.upper(): ["REPORT"], OTHER: ["READ"]}))
    caller.require_report(CAMPAIGN)
    with pytest.raises(MissingPermissions):
        caller.require_report(OTHER)
    everywhere = Caller("machine", {"*": frozenset({"REPORT"})})
    everywhere.require_report(CAMPAIGN)
    everywhere.require_report("not-an-id")
    assert read_claims(claims(supreme=True)).supreme
    with pytest.raises(Unauthenticated):
        read_claims(claims(permissions=[]))


@pytest.mark.parametrize(
    ("fields", "variable"),
    [
        ({"jwt_public_key": None}, "VFEXPORT_JWT_PUBLIC_KEY"),
        ({"jwt_public_key": "secret"}, "VFEXPORT_JWT_PUBLIC_KEY"),
        ({"jwt_public_key": private_pem(EC_KEY)}, "VFEXPORT_JWT_PUBLIC_KEY"),
        ({"jwt_public_key": public_pem(rsa.generate_private_key(65537, 1024))}, "VFEXPORT_JWT_PUBLIC_KEY"),
        ({"jwt_public_key": public_pem(ec.generate_private_key(ec.SECP384R1()))}, "VFEXPORT_JWT_PUBLIC_KEY"),
        ({"jwt_public_key": public_pem(ed25519.Ed25519PrivateKey.generate())}, "VFEXPORT_JWT_PUBLIC_KEY"),
        ({"jwt_jwks_url": "http://keys.example/"}, "VFEXPORT_JWT_JWKS_URL"),
        ({"jwt_jwks_url": "file:///etc/passwd"}, "VFEXPORT_JWT_JWKS_URL"),
        ({"jwt_issuer": None}, "VFEXPORT_JWT_ISSUER"),
        ({"jwt_audience": ""}, "VFEXPORT_JWT_AUDIENCE"),
        ({"dev_mode": True, "dev_private_key": "x"}, "VFEXPORT_DEV_PRIVATE_KEY"),
        ({"dev_mode": True, "dev_private_key": private_pem(RSA_KEY)}, "VFEXPORT_DEV_PRIVATE_KEY"),
    ],
)
def test_settings_that_would_trust_anybody_are_refused_at_the_start(fields: dict[str, Any], variable: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_app(make_settings(**fields))
    assert caught.value.payload == variable
    assert variable in caught.value.message


class TestDevTokens:
    def test_there_are_none_without_dev_mode(self, api: Api) -> None:
        for method in ("POST", "GET"):
            response = api.call(method, "/dev/token", json={"userId": "u", "permissions": {}})
            assert (response.status_code, response.json()["error"]["code"]) == (404, "NotFound")
        assert "/dev/token" not in api.document["paths"]
        assert "NewToken" not in api.document["components"]["schemas"]

    def test_the_dev_key_is_not_trusted_without_dev_mode(self) -> None:
        secret = SecretStr(private_pem(EC_KEY))
        trusting = Access.from_settings(make_settings(dev_mode=True, dev_private_key=secret))
        careful = Access.from_settings(make_settings(dev_mode=False, dev_private_key=secret))
        assert trusting.signer is not None
        token = trusting.signer.sign("u", {}, supreme=True)
        assert trusting.verifier.verify(token).supreme
        assert careful.signer is None
        with pytest.raises(Unauthenticated):
            careful.verifier.verify(token)

    def test_processes_with_the_same_key_accept_each_other(self) -> None:
        settings = make_settings(dev_mode=True, dev_private_key=private_pem(EC_KEY))
        one, two = Access.from_settings(settings), Access.from_settings(settings)
        assert one.signer is not None
        assert two.verifier.verify(one.signer.sign("u", {}, supreme=False)).user_id == "u"
        stranger = Access.from_settings(make_settings(dev_mode=True))
        with pytest.raises(Unauthenticated):
            stranger.verifier.verify(one.signer.sign("u", {}, supreme=False))

    def test_a_token_allows_what_was_asked_for(self) -> None:
        settings = load_settings(None, mongo_uri="mongodb://127.0.0.1:1", dev_mode=True)
        with running_api(settings) as api:
            body = {"userId": "u@x.example", "permissions": {CAMPAIGN: ["REPORT"]}, "supreme": True}
            response = api.post("/dev/token", json=body)
            assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
            caller = api.services.access.verifier.verify(response.json()["token"])
            assert caller == Caller("u@x.example", {CAMPAIGN: frozenset({"REPORT"})}, supreme=True)
            assert api.get("/export-types", token=response.json()["token"]).status_code == 200

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"userId": None}, "userId"),
            ({"userId": ""}, "userId"),
            ({"userId": {"$ne": None}}, "userId"),
            ({"userId": "a" * 129}, "userId"),
            ({"userId": "a\n"}, "userId"),
            ({"permissions": None}, "permissions"),
            ({"permissions": []}, "permissions"),
            ({"permissions": {"x": ["REPORT"]}}, "permissions"),
            ({"permissions": {"*": "REPORT"}}, "permissions"),
            ({"permissions": {"*": [1]}}, "permissions"),
            ({"permissions": {"*": ["report"]}}, "permissions"),
            ({"permissions": {"*": ["A"] * 21}}, "permissions"),
            ({"permissions": {f"{number:024x}": [] for number in range(201)}}, "permissions"),
            ({"supreme": "yes"}, "supreme"),
            ({"supreme": None}, "supreme"),
            ({"exp": 1}, "exp"),
            ({"exportType": 1}, "exportType"),
        ],
    )
    def test_a_wrong_request_is_refused(self, changes: dict[str, Any], field: str) -> None:
        settings = load_settings(None, mongo_uri="mongodb://127.0.0.1:1", dev_mode=True)
        with running_api(settings) as api:
            response = api.post("/dev/token", json={"userId": "u", "permissions": {}, **changes})
            assert response.status_code == 400
            assert (response.json()["error"]["code"], response.json()["error"]["payload"]) == ("InvalidRequest", field)
