"""Who calls, and what they may do: bearer tokens (JWT, RS256 or ES256) and the permissions in them.

Everything that is not exactly as it should be is refused: a token that cannot be checked is no token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vfexport_core.errors import (
    ConfigurationError,
    KeysUnavailable,
    MissingPermissions,
    Unauthenticated,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vfexport_core.api.auth.verification_keys import KeySource
    from vfexport_core.errors import VfexportError
    from vfexport_core.settings import Settings

REPORT = "REPORT"
ANY_CAMPAIGN = "*"

DEV_ISSUER = "vfexport-dev"
DEV_AUDIENCE = "vfexport"

_LONGEST_TOKEN = 8_192
_LEEWAY_SECONDS = 10
_ALGORITHMS = ("RS256", "ES256")
_LAST_MOMENT = 253_402_300_799  # of the year 9999
_REQUIRED = ("exp", "iss", "aud", "sub")

# What jwt lets through when a segment or a claim is not of the form it expects.
_MALFORMED = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Caller:
    """The person or machine a valid token speaks for."""

    user_id: str
    permissions: Mapping[str, frozenset[str]]
    supreme: bool = False

    def require_report(self, campaign_id: str) -> None:
        """Raise MissingPermissions unless the token allows REPORT for this campaign (id in lower case)."""
        for key in (campaign_id, ANY_CAMPAIGN):
            if REPORT in self.permissions.get(key, ()):
                return
        raise MissingPermissions(f"the token does not allow {REPORT} for this campaign", payload=campaign_id[:64])

    def reportable_campaigns(self) -> frozenset[str] | None:
        """Return the ids of the campaigns with REPORT; None when it holds for all."""
        if REPORT in self.permissions.get(ANY_CAMPAIGN, ()):
            return None
        return frozenset(campaign for campaign, granted in self.permissions.items() if REPORT in granted)

    def require_supreme(self) -> None:
        """Raise MissingPermissions unless the token is a supreme one; permissions on campaigns do not count."""
        if not self.supreme:
            raise MissingPermissions("the token is not a supreme one", payload="supreme")


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must be made out by and for."""

    issuer: str
    audience: str

    @classmethod
    def from_settings(cls, settings: Settings) -> Expected:
        """Read JWT_ISSUER and JWT_AUDIENCE; raises ConfigurationError, since without them any token would do.

        In dev mode both have defaults.
        """
        issuer = settings.jwt_issuer or (DEV_ISSUER if settings.dev_mode else None)
        audience = settings.jwt_audience or (DEV_AUDIENCE if settings.dev_mode else None)
        if not issuer:
            raise ConfigurationError("VFEXPORT_JWT_ISSUER is missing", payload="VFEXPORT_JWT_ISSUER")
        if not audience:
            raise ConfigurationError("VFEXPORT_JWT_AUDIENCE is missing", payload="VFEXPORT_JWT_AUDIENCE")
        return cls(issuer, audience)


class TokenVerifier:
    """Checks tokens against the keys of its sources."""

    def __init__(self, sources: Sequence[KeySource], expected: Expected) -> None:
        self._sources = tuple(sources)
        self._expected = expected

    def verify(self, token: str) -> Caller:
        """Return the caller of a valid token; may block on a JWKS fetch.

        Raises Unauthenticated, and KeysUnavailable when a key that cannot be had may have signed it.
        """
        if len(token) > _LONGEST_TOKEN:
            raise _refused("it is too long")
        try:
            header = jwt.get_unverified_header(token)
        except _MALFORMED:
            raise _refused("it is not a JWT") from None
        algorithm = header.get("alg")
        if algorithm not in _ALGORITHMS:
            raise _refused("its algorithm is not accepted")
        key_id: str | None = header.get("kid")
        failure: VfexportError = _refused("no known key has signed it")
        for source in self._sources:
            try:
                keys = source.find(key_id, algorithm)
            except KeysUnavailable as error:
                failure = error
                continue
            for key in keys:
                if (claims := self._claims(token, key.key, key.algorithm)) is not None:
                    return read_claims(claims)
        raise failure

    def _claims(self, token: str, key: Any, algorithm: str) -> dict[str, Any] | None:
        """Return the claims if this key has signed them; None when another key has signed it."""
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._expected.issuer,
                audience=self._expected.audience,
                leeway=_LEEWAY_SECONDS,
                options={"require": list(_REQUIRED)},
            )
        except jwt.InvalidSignatureError:
            return None
        except jwt.ExpiredSignatureError:
            raise _refused("it has expired") from None
        except jwt.ImmatureSignatureError:
            raise _refused("it is not valid yet") from None
        except jwt.InvalidIssuerError:
            raise _refused("its issuer is not accepted") from None
        except jwt.InvalidAudienceError:
            raise _refused("it is not meant for this service") from None
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"it has no {error.claim}") from None
        except _MALFORMED:
            raise _refused("it is malformed") from None


Moment: TypeAlias = Annotated[float, Field(ge=0, le=_LAST_MOMENT)]


class Claims(BaseModel):
    """The claims that say who calls and what they may do, and the moments, whose values are checked with the signature.

    That check would take text for a number, and any number for a moment.
    """

    model_config = ConfigDict(strict=True)

    exp: Moment
    nbf: Moment = 0.0
    iat: Moment = 0.0

    sub: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]
    permissions: dict[str, list[str]] = Field(default_factory=dict[str, list[str]])
    supreme: bool = False


def read_claims(claims: Mapping[str, Any]) -> Caller:
    """Return the caller from the claims of a verified token; raises Unauthenticated when one has another form."""
    try:
        known = Claims.model_validate(claims)
    except ValidationError as error:
        raise _refused(f"its {error.errors()[0]['loc'][0]} has another form than expected") from None
    permissions: dict[str, frozenset[str]] = {}
    for campaign_id, granted in known.permissions.items():
        # Ids are hex: the same campaign in upper and in lower case.
        key = campaign_id.lower()
        permissions[key] = permissions.get(key, frozenset()) | frozenset(granted)
    return Caller(known.sub, permissions, known.supreme)


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"the token is refused: {why}", payload="token")
