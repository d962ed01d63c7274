"""What runs and sensors work with: MongoDB and the buckets.

A run opens its own and closes them when it ends; sensors share one MongoDB client per process, which stays open. The
settings are read from the environment when a run begins or a sensor ticks, never at import, so that the definitions
load anywhere. A wrong variable fails the run with ConfigurationError, which names it.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
from pydantic import Field, PrivateAttr

from vfexport_core.services.run_tags import CORRELATION_ID
from vfexport_core.settings import load_settings
from vfexport_core.telemetry.run_scope import working_for

if TYPE_CHECKING:
    from collections.abc import Generator

    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.storage.buckets import BucketClients


class _SettingsResource(dg.ConfigurableResource[Any]):
    env_file: str = Field(
        default=".env", description="A file with VFEXPORT_* variables, beside those of the environment; need not exist."
    )


class MongoResource(_SettingsResource):
    """MongoDB, as VFEXPORT_MONGO_URI and VFEXPORT_MONGO_DATABASE say."""

    _settings: Any = PrivateAttr(default=None)
    _client: Any = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[Self]:
        """Read the settings and make a client; raises ConfigurationError."""
        from vfexport_core.mongo.client import connect, connect_shared  # noqa: PLC0415 the web server needs no driver

        self._settings, run = load_settings(self.env_file), context.run
        if run is None:  # a new client per tick would connect anew each time
            self._client = connect_shared(self._settings)
            yield self
            return
        with working_for(run.run_id, run.tags.get(CORRELATION_ID, run.run_id)), closing(connect(self._settings)) as own:
            self._client = own
            yield self

    def backend(self, buckets: BucketsResource | None = None, *, retry_seconds: float | None = None) -> Backend:
        """Return what core works with, for a run or, with so many seconds to try, a sensor; the clients stay ours."""
        from vfexport_core.mongo.retry import WORKER_LIMITS, RetryLimits  # noqa: PLC0415 see `yield_for_execution`
        from vfexport_core.services.bootstrap import Backend  # noqa: PLC0415 as above

        limits = WORKER_LIMITS if retry_seconds is None else RetryLimits(retry_seconds)
        make_buckets = None if buckets is None else lambda _: buckets.clients
        database = self._client[self._settings.mongo_database]
        return Backend(self._settings, limits=limits, database=database, make_buckets=make_buckets)


class BucketsResource(_SettingsResource):
    """The buckets, as VFEXPORT_BUCKETS__* say; the clients are those of dagster-aws' S3 resource, one per bucket.

    Nothing is loaded or opened before an op asks for `clients`: dagster-aws takes longer to import than an export
    should take to start.
    """

    _clients: Any = PrivateAttr(default=None)

    @property
    def clients(self) -> BucketClients:
        """The buckets by their names in the catalog; raises ConfigurationError."""
        if self._clients is None:
            from vfexport_dagster.s3 import RunBuckets  # noqa: PLC0415 see the class

            self._clients = RunBuckets(load_settings(self.env_file))
        return self._clients

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002 Dagster's signature
        if self._clients is not None:
            self._clients.close()
