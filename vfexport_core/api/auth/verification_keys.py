"""Keys that tokens are checked with: configured PEM, a JWKS address (cached, rotated, failing closed), the dev key.

The algorithm belongs to the key, never to the token: an RSA key is good for RS256 and an EC P-256 key for ES256 only,
so neither ``alg: none`` nor an HMAC made with the public key can be accepted.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import urlsplit

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from vfexport_core.errors import ConfigurationError, KeysUnavailable
from vfexport_core.outbound.fetching import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_log = logging.getLogger(__name__)

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey

_SMALLEST_RSA_BITS = 2048
_FRESH_SECONDS = 300.0
"""A key that the issuer withdraws is refused after this time at the latest, while its JWKS address answers."""
_STALE_SECONDS = 3_600.0
"""For so long an outage of the JWKS address is bridged with the keys known before."""
_UNKNOWN_KEY_SECONDS = 10.0
"""Tokens with made-up key ids cost one fetch in this time at most, failing fetches included."""
_FETCH_SECONDS = 2.0
"""For connecting, and again for all that follows."""
_LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, the only algorithm it is used with, and its id (`None`: good for tokens with any)."""

    key: PublicKey
    algorithm: str
    key_id: str | None = None


class KeySource(Protocol):
    """Where verification keys come from."""

    def find(self, key_id: str | None, algorithm: str) -> Iterable[VerificationKey]:
        """Return the keys that may have signed a token with this header; none means refuse it.

        Raises KeysUnavailable when that cannot be told at the moment.
        """
        ...


class FixedKeys:
    """Keys that never change while the process lives."""

    def __init__(self, keys: Sequence[VerificationKey]) -> None:
        self._keys = tuple(keys)

    def find(self, key_id: str | None, algorithm: str) -> Iterable[VerificationKey]:
        return matching(self._keys, key_id, algorithm)


def matching(keys: Iterable[VerificationKey], key_id: str | None, algorithm: str) -> tuple[VerificationKey, ...]:
    """Return the keys of this algorithm and id."""
    return tuple(key for key in keys if key.algorithm == algorithm and key.key_id in (None, key_id))


def public_key_from_pem(pem: str) -> VerificationKey:
    """Return the key in VFEXPORT_JWT_PUBLIC_KEY, where backslash-n may stand for line ends.

    Raises ConfigurationError.
    """
    try:
        key = load_pem_public_key(pem.replace("\\n", "\n").encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(
            "VFEXPORT_JWT_PUBLIC_KEY is not a public key in PEM form", payload="VFEXPORT_JWT_PUBLIC_KEY"
        ) from None
    if (algorithm := algorithm_of(key)) is None:
        raise ConfigurationError(
            f"VFEXPORT_JWT_PUBLIC_KEY must be RSA of at least {_SMALLEST_RSA_BITS} bits or EC P-256",
            payload="VFEXPORT_JWT_PUBLIC_KEY",
        )
    assert isinstance(key, (RSAPublicKey, EllipticCurvePublicKey))
    return VerificationKey(key, algorithm)


def algorithm_of(key: object) -> str | None:
    """Return the algorithm that this public key is good for; None when the key is too weak or of another kind."""
    if isinstance(key, RSAPublicKey) and key.key_size >= _SMALLEST_RSA_BITS:
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    return None


def is_trustworthy(url: object) -> bool:
    """Return whether this is an https address, or an http one of this machine."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS)


class JwksKeys:
    """The signing keys published at a JWKS address.

    A known key id is answered from memory. An unknown one, or keys older than `_FRESH_SECONDS`, cause one fetch, on a
    thread of its own. Who needs its result waits for it, for a bounded time; who knows a key to go on with does not.
    Keys of an address that stopped answering are used up to `_STALE_SECONDS`. Blocks: call it from a worker thread.
    """

    def __init__(
        self, url: str, clock: Callable[[], float] = time.monotonic, *, fetch_seconds: float = _FETCH_SECONDS
    ) -> None:
        """Raise ConfigurationError unless the address is https (or http on this machine)."""
        if not is_trustworthy(url):
            raise ConfigurationError("VFEXPORT_JWT_JWKS_URL must be an https address", payload="VFEXPORT_JWT_JWKS_URL")
        self._url = url
        self._clock = clock
        self._fetch_seconds = fetch_seconds
        self._lock = threading.Lock()
        self._fetching: threading.Thread | None = None
        self._keys: tuple[VerificationKey, ...] = ()
        self._fetched = float("-inf")
        self._tried = float("-inf")

    def find(self, key_id: str | None, algorithm: str) -> Iterable[VerificationKey]:
        """Return the published keys of this id; raises KeysUnavailable when these cannot be had."""
        if key_id is None:  # which of the issuer's keys it means cannot be told
            return ()
        found = matching(self._usable(), key_id, algorithm)
        if found and self._age(self._fetched) <= _FRESH_SECONDS:
            return found
        if self._begin_fetch() or not found:
            self._wait()
            found = matching(self._usable(), key_id, algorithm)
        if not found and self._fetched < self._tried:
            raise KeysUnavailable("the keys that tokens are checked with cannot be had", payload="keys")
        return found

    def _usable(self) -> tuple[VerificationKey, ...]:
        return self._keys if self._age(self._fetched) <= _STALE_SECONDS else ()

    def _age(self, moment: float) -> float:
        return self._clock() - moment

    def _begin_fetch(self) -> bool:
        """Begin to fetch, unless that is done, or was tried, just now; tell whether it was begun."""
        with self._lock:
            under_way = self._fetching is not None and self._fetching.is_alive()
            if under_way or self._age(self._tried) < _UNKNOWN_KEY_SECONDS:
                return False
            self._tried = self._clock()
            self._fetching = threading.Thread(target=self._fetch, name="jwks", daemon=True)
            self._fetching.start()
            return True

    def _wait(self) -> None:
        """Wait for the fetch under way: connecting, and all that follows."""
        with self._lock:
            fetching = self._fetching
        if fetching is not None:
            fetching.join(2 * self._fetch_seconds)

    def _fetch(self) -> None:
        try:
            self._keys = self.published()
            self._fetched = self._clock()
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("the JWKS address did not give keys: %s", type(error).__name__)

    def published(self) -> tuple[VerificationKey, ...]:
        """Fetch the usable keys, now; an empty list is an answer too: the issuer has withdrawn all of them.

        Raises OSError, ValueError or RecursionError.
        """
        document: Any = json.loads(fetch(self._url, self._fetch_seconds))
        entries: Any = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise ValueError("not a key set")  # noqa: TRY004 what was published is wrong, not our call
        return tuple(filter(None, map(_usable_key, entries)))


def _usable_key(entry: Any) -> VerificationKey | None:
    """Return a published key; None for one that is not for signing, has no id, is symmetric, weak or broken."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or not isinstance(entry.get("kid"), str):
        return None
    try:
        key = jwt.PyJWK.from_dict(entry).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    algorithm = algorithm_of(key)
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    return VerificationKey(key, algorithm, entry["kid"])
