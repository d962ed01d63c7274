"""Tokens for trying things out: signed by a key that is trusted in dev mode only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from vfexport_core.api.auth.verification_keys import VerificationKey, algorithm_of
from vfexport_core.errors import ConfigurationError

if TYPE_CHECKING:
    from vfexport_core.api.auth.tokens import Expected
    from vfexport_core.settings import Settings

LIFETIME_SECONDS = 3_600
_KEY_ID = "vfexport-dev"
_VARIABLE = "VFEXPORT_DEV_PRIVATE_KEY"


class DevSigner:
    """Signs tokens as an issuer would."""

    def __init__(self, settings: Settings, expected: Expected) -> None:
        """Take VFEXPORT_DEV_PRIVATE_KEY, or make a key that lives as long as this object.

        Raises ConfigurationError when the variable is not a private EC P-256 key.
        """
        configured = settings.dev_private_key
        self._key = (
            private_key_from_pem(configured.get_secret_value()) if configured else generate_private_key(SECP256R1())
        )
        self._expected = expected

    @property
    def verification_key(self) -> VerificationKey:
        return VerificationKey(self._key.public_key(), "ES256", _KEY_ID)

    def sign(self, user_id: str, permissions: dict[str, list[str]], *, supreme: bool) -> str:
        """Return a token for this user, valid for `LIFETIME_SECONDS`."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self._expected.issuer,
            "aud": self._expected.audience,
            "sub": user_id,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "permissions": permissions,
            "supreme": supreme,
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": _KEY_ID})


def new_private_key() -> str:
    """Return a new private key in PEM form, for API processes that must accept each other's dev tokens."""
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def private_key_from_pem(pem: str) -> EllipticCurvePrivateKey:
    """Return the key in VFEXPORT_DEV_PRIVATE_KEY, where backslash-n may stand for line ends.

    Raises ConfigurationError.
    """
    try:
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{_VARIABLE} is not a private key in PEM form", payload=_VARIABLE) from None
    if not isinstance(key, EllipticCurvePrivateKey) or algorithm_of(key.public_key()) is None:
        raise ConfigurationError(f"{_VARIABLE} must be an EC P-256 key", payload=_VARIABLE)
    return key
