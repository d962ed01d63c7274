"""Making S3 clients: addresses, credentials, timeouts.

botocore is used without boto3: the S3 client is the same, and loading boto3 would add a tenth of a second to the start
of every run. It is imported only when a client is made, for the same reason.
"""

from __future__ import annotations

import base64
import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import ConfigurationError

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.session import Session

    from vfexport_core.settings import BucketSettings

_CONNECT_SECONDS = 5
_CONNECTIONS = 32
_STS_SECONDS = 5
# Stores other than AWS have no regions, but a signature names one.
_REGION_OF_OTHERS = "us-east-1"
_ROLE_SESSION = "vfexport"


def make_session() -> Session:
    """Make what clients are made from; it keeps the API's description, so that only its first client takes long."""
    import botocore.session  # noqa: PLC0415 see the module

    return botocore.session.Session()


def make_client(session: Session, settings: BucketSettings, variables: str, *, read_seconds: float) -> Any:
    """Make an S3 client for a bucket; no request is sent yet.

    Credentials are the given key pair, else the AWS default chain; with a role, those of the role, assumed with the
    former at the first request and again before they expire. `variables` is how the bucket's variables begin, to name
    the one that a ConfigurationError is about.
    """
    keys: dict[str, Any] = _key_pair(settings, variables)
    region = settings.region or (_REGION_OF_OTHERS if settings.endpoint_url else None)
    if settings.role_arn:
        session = _assume(session, settings, region, keys, variables)
        keys = {}
    try:
        client = session.create_client(
            "s3", region_name=region, endpoint_url=settings.endpoint_url, config=_config(settings, read_seconds), **keys
        )
    except ValueError:  # how botocore says that it cannot read the address
        variable = f"{variables}ENDPOINT_URL"
        raise ConfigurationError(f"{variable} is not an address", payload=variable) from None
    if settings.endpoint_url:
        client.meta.events.register("before-call.s3.DeleteObjects", _add_content_md5)
    return client


def _add_content_md5(params: dict[str, Any], **_: object) -> None:
    """Return a request the digest that older stores want; botocore sends only the newer one."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def _config(settings: BucketSettings, read_seconds: float) -> Config:
    from botocore.config import Config  # noqa: PLC0415 see the module

    options: dict[str, Any] = {
        "signature_version": "s3v4",
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "connect_timeout": min(_CONNECT_SECONDS, read_seconds),
        "read_timeout": read_seconds,
        "max_pool_connections": _CONNECTIONS,
        "tcp_keepalive": True,
    }
    # The bucket as a host name is regional in signed URLs too; left to itself botocore signs for the global host, which
    # does not serve every region. A name with dots does not match AWS's certificate.
    virtual = not settings.endpoint_url and "." not in settings.name
    options["s3"] = {"addressing_style": "virtual" if virtual else "path"}
    if settings.endpoint_url:
        # Other stores than AWS do not know every checksum.
        options |= {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
    return Config(**options)


def _sts_config() -> Config:
    """Return how to ask for a role's credentials: every request to S3 waits for them, and who signs an address too."""
    from botocore.config import Config  # noqa: PLC0415 see the module

    return Config(
        connect_timeout=_STS_SECONDS, read_timeout=_STS_SECONDS, retries={"mode": "standard", "total_max_attempts": 2}
    )


def _key_pair(settings: BucketSettings, variables: str) -> dict[str, str]:
    key, secret = settings.access_key_id, settings.secret_access_key
    if (key is None) != (secret is None):
        missing = variables + ("ACCESS_KEY_ID" if key is None else "SECRET_ACCESS_KEY")
        raise ConfigurationError(f"{missing} is not set, but the other half of the key pair is", payload=missing)
    if key is None or secret is None:
        return {}
    return {"aws_access_key_id": key, "aws_secret_access_key": secret.get_secret_value()}


def _assume(
    session: Session, settings: BucketSettings, region: str | None, keys: dict[str, str], variables: str
) -> Session:
    """Return a session whose credentials are a role's, fetched when first needed and renewed before they expire."""
    from botocore import credentials  # noqa: PLC0415 see the module

    if keys:
        source = credentials.Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    else:
        source = session.get_credentials()
    if source is None:
        variable = f"{variables}ROLE_ARN"
        raise ConfigurationError(f"{variable} is set, but there are no credentials to assume it with", payload=variable)
    external = {} if settings.external_id is None else {"ExternalId": settings.external_id}
    fetcher = credentials.AssumeRoleCredentialFetcher(
        client_creator=partial(session.create_client, region_name=region, config=_sts_config()),
        source_credentials=source,
        role_arn=settings.role_arn,
        extra_args={"RoleSessionName": _ROLE_SESSION, **external},
    )

    class RoleProvider(credentials.CredentialProvider):
        METHOD = "assume-role"

        def load(self) -> Any:
            return credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, self.METHOD)

    assumed = make_session()
    assumed.register_component("credential_provider", credentials.CredentialResolver([RoleProvider()]))
    return assumed
