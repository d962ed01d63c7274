"""dagster-aws' S3 resource for the buckets of the catalog. Slow to import: only where a client is really needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster_aws.s3 import S3Resource
from pydantic import Field, SecretStr

from vfexport_core.settings import BucketSettings
from vfexport_core.storage.buckets import BucketClients
from vfexport_core.storage.s3.clients import make_client, make_session

if TYPE_CHECKING:
    from typing import Self


class BucketResource(S3Resource):
    """An `S3Resource` like any other, usable wherever one is, that reaches one bucket as its settings say.

    The client itself is made by vfexport_core: dagster-aws' own can neither renew an assumed role, nor address a bucket
    by path, nor leave the retries to the writer, which must know of each.
    """

    bucket: str = Field(description="The bucket's name.")
    role_arn: str | None = Field(default=None, description="A role to assume with the credentials given or found.")
    external_id: str | None = Field(default=None, description="What the role's trust policy asks for.")
    read_seconds: float = Field(default=60, description="How long an answer may take.")
    variables: str = Field(default="", description="How the bucket's variables begin, to name a wrong one.")

    @classmethod
    def from_settings(cls, settings: BucketSettings, variables: str, *, read_seconds: float) -> Self:
        secret = settings.secret_access_key
        return cls(
            bucket=settings.name,
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            role_arn=settings.role_arn,
            external_id=settings.external_id,
            read_seconds=read_seconds,
            variables=variables,
        )

    def get_client(self) -> Any:
        """Make a plain S3 client, to be closed by the caller; raises ConfigurationError."""
        secret = self.aws_secret_access_key
        settings = BucketSettings(
            name=self.bucket,
            endpoint_url=self.endpoint_url,
            region=self.region_name,
            access_key_id=self.aws_access_key_id,
            secret_access_key=SecretStr(secret) if secret else None,
            role_arn=self.role_arn,
            external_id=self.external_id,
        )
        return make_client(make_session(), settings, self.variables, read_seconds=self.read_seconds)


class RunBuckets(BucketClients):
    """The buckets as a run sees them: each through an S3 resource."""

    def make_client(self, settings: BucketSettings, variables: str, read_seconds: float) -> Any:
        return BucketResource.from_settings(settings, variables, read_seconds=read_seconds).get_client()
