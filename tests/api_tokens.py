"""Keys, settings and tokens for tests of who may do what; no server is needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from vfexport_core.settings import Settings

ISSUER, AUDIENCE = "https://issuer.example", "vfexport-api"
CAMPAIGN, OTHER = "a" * 24, "b" * 24
RSA_KEY = rsa.generate_private_key(65537, 2048)
FOREIGN_RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def public_pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def make_settings(**fields: Any) -> Settings:
    """Settings of an API whose MongoDB is never there: nothing here may need it."""
    fields = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_public_key": public_pem(RSA_KEY), **fields}
    return load_settings(None, mongo_uri="mongodb://127.0.0.1:1", **fields)


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims with changes; a change to None leaves the claim out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "admin-1",
        "exp": now + 600,
        "iat": now,
        "permissions": {CAMPAIGN: ["REPORT"]},
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(key: Any = RSA_KEY, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)
