"""Who is trusted, by the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.api.auth.dev_tokens import DevSigner
from vfexport_core.api.auth.tokens import Expected, TokenVerifier
from vfexport_core.api.auth.verification_keys import FixedKeys, JwksKeys, KeySource, public_key_from_pem
from vfexport_core.errors import ConfigurationError

if TYPE_CHECKING:
    from vfexport_core.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The verifier of tokens and, in dev mode only, the signer of such."""

    verifier: TokenVerifier
    signer: DevSigner | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Access:
        """Read the JWT settings; raises ConfigurationError when tokens could not be checked properly."""
        expected = Expected.from_settings(settings)
        sources: list[KeySource] = []
        if settings.jwt_public_key:
            sources.append(FixedKeys([public_key_from_pem(settings.jwt_public_key)]))
        if settings.jwt_jwks_url:
            sources.append(JwksKeys(settings.jwt_jwks_url))
        signer = DevSigner(settings, expected) if settings.dev_mode else None
        if signer is not None:
            sources.append(FixedKeys([signer.verification_key]))
        if not sources:
            raise ConfigurationError(
                "VFEXPORT_JWT_PUBLIC_KEY or VFEXPORT_JWT_JWKS_URL is needed to check tokens",
                payload="VFEXPORT_JWT_PUBLIC_KEY",
            )
        return cls(verifier=TokenVerifier(sources, expected), signer=signer)
