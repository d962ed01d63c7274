"""dagster-aws' S3 resource for the buckets of the catalog. Slow to import: only where a client is really needed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dagster_aws.s3 import S3Resource
from pydantic import PrivateAttr

from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from vfexport_core.settings import BucketSettings


class BucketResource(S3Resource):
    """An `S3Resource` like any other, usable wherever one is, that reaches one bucket as its settings say.

    The client itself is made by vfexport_core: dagster-aws' own can neither renew an assumed role, nor address a bucket
    by path, nor leave the retries to the writer, which must know of each.
    """

    _make: Any = PrivateAttr()

    def made_by(self, make: Callable[[], Any]) -> Self:
        self._make = make
        return self

    def get_client(self) -> Any:
        """Make a plain S3 client, to be closed by the caller; raises ConfigurationError."""
        return self._make()


class RunBuckets(BucketClients):
    """The buckets as a run sees them: each through an S3 resource."""

    def make_client(self, settings: BucketSettings, variables: str, read_seconds: float) -> Any:
        make = partial(super().make_client, settings, variables, read_seconds)
        resource = BucketResource(endpoint_url=settings.endpoint_url, region_name=settings.region)
        return resource.made_by(make).get_client()
