"""The keys that tokens are checked with, and the one that CCPA records are hashed with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.api.auth.dev_tokens import private_key_from_pem
from vfexport_core.api.auth.tokens import Expected
from vfexport_core.api.auth.verification_keys import JwksKeys, public_key_from_pem
from vfexport_core.doctor.checks import Check, Finding, failed, failure, ok, warning
from vfexport_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfexport_core.settings import Settings

_SECONDS = 10.0
_SHORTEST_HASH_KEY = 32


def key_checks(settings: Settings) -> list[Check]:
    """Return the checks of the JWT settings."""
    return [
        Check("jwt keys", _SECONDS, lambda: _verification_keys(settings)),
        Check("jwt claims", _SECONDS, lambda: _expected(settings)),
        Check("dev mode", _SECONDS, lambda: _dev_mode(settings)),
    ]


def hash_key_check(settings: Settings) -> Check:
    """Return the check of the key that CCPA records are hashed with."""
    return Check("ccpa hash key", _SECONDS, lambda: _hash_key(settings))


def _verification_keys(settings: Settings) -> Iterator[Finding]:
    if settings.jwt_public_key:
        try:
            yield ok("jwt keys", f"the public key is good for {public_key_from_pem(settings.jwt_public_key).algorithm}")
        except ConfigurationError as error:
            yield failure("jwt keys", error)
    if settings.jwt_jwks_url:
        yield _published(settings.jwt_jwks_url)
    if not (settings.jwt_public_key or settings.jwt_jwks_url):
        hint = "Set VFEXPORT_JWT_PUBLIC_KEY or VFEXPORT_JWT_JWKS_URL, without which no token can be checked."
        if settings.dev_mode:
            yield warning("jwt keys", "only the dev key", hint)
        else:
            yield failed("jwt keys", "neither a public key nor a JWKS address is set", hint)


def _published(url: str) -> Finding:
    try:
        keys = JwksKeys(url).published()
    except ConfigurationError as error:
        return failure("jwt keys", error)
    except Exception as error:  # noqa: BLE001 the ways of a foreign server are many
        hint = "See whether VFEXPORT_JWT_JWKS_URL can be reached from here, and what it answers."
        return failed("jwt keys", f"the JWKS address gives no key set: {type(error).__name__}", hint)
    if not keys:
        hint = "The issuer must publish a signing key with a kid: RSA of 2048 bits or more, or EC P-256."
        return failed("jwt keys", "the JWKS address has no usable key", hint)
    return ok("jwt keys", f"the JWKS address has {len(keys)} usable keys")


def _expected(settings: Settings) -> Iterator[Finding]:
    Expected.from_settings(settings)  # raises ConfigurationError, which names the variable
    yield ok("jwt claims", "issuer and audience are known")


def _dev_mode(settings: Settings) -> Iterator[Finding]:
    if settings.dev_private_key:
        private_key_from_pem(settings.dev_private_key.get_secret_value())  # raises ConfigurationError, as above
    if settings.dev_mode:
        yield warning("dev mode", "on: /dev/token gives anybody a token for anything", "Unset VFEXPORT_DEV_MODE.")
    else:
        yield ok("dev mode", "off")


def _hash_key(settings: Settings) -> Iterator[Finding]:
    key = settings.ccpa_hash_key.get_secret_value() if settings.ccpa_hash_key else ""
    if not key:
        yield failed(
            "ccpa hash key", "it is not set", "Set VFEXPORT_CCPA_HASH_KEY: no deletion is possible without it."
        )
    elif len(key) < _SHORTEST_HASH_KEY:
        hint = f"Use at least {_SHORTEST_HASH_KEY} random characters for VFEXPORT_CCPA_HASH_KEY."
        yield warning("ccpa hash key", "it is short: user ids could be found by trying", hint)
    else:
        yield ok("ccpa hash key", "it is set")
