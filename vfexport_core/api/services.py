"""What the routes work with, made once per app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vfexport_core.api.auth import Expected, TokenVerifier
from vfexport_core.api.devtokens import DevSigner
from vfexport_core.api.keys import FixedKeys, JwksKeys, KeySource, public_key_from_pem
from vfexport_core.errors import ConfigurationError

if TYPE_CHECKING:
    from pymongo.database import Database
    from starlette.requests import Request

    from vfexport_core.api.metrics import Metrics
    from vfexport_core.api.queuemetrics import QueueMetrics
    from vfexport_core.api.readiness import Readiness
    from vfexport_core.catalog import Registry
    from vfexport_core.ccpa.deletion import Deletions
    from vfexport_core.delivery.buckets import BucketClients
    from vfexport_core.queue.estimate import Estimator
    from vfexport_core.queue.store import ExportStore
    from vfexport_core.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who is trusted: the verifier of tokens and, in dev mode only, the signer of such."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that routes need; shared by all threads."""

    settings: Settings
    access: Access
    catalog: Registry
    database: Database[dict[str, Any]]
    store: ExportStore
    estimator: Estimator
    buckets: BucketClients
    readiness: Readiness
    metrics: Metrics
    queue_metrics: QueueMetrics
    deletions: Deletions


def services_of(request: Request) -> Services:
    """Give the services of the app that answers this request."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services
