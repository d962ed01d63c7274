"""What runs and sensors work with: MongoDB and the buckets, opened for one run (or tick) and closed after it.

The settings are read from the environment when a run begins, never at import, so that the definitions load anywhere.
A wrong variable fails the run with ConfigurationError, which names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, PrivateAttr

from vfexport_core.settings import load_settings
from vfexport_core.telemetry import context as telemetry
from vfexport_core.telemetry import tracing
from vfexport_dagster import tags
from vfexport_dagster.memory import run_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymongo.database import Database

    from vfexport_core.delivery.buckets import BucketClients
    from vfexport_core.queue.models import Claim, Export
    from vfexport_core.queue.store import ExportStore
    from vfexport_core.settings import Settings
    from vfexport_core.worker import Worker


class _SettingsResource(dg.ConfigurableResource[Any]):
    env_file: str = Field(
        default=".env", description="A file with VFEXPORT_* variables, beside those of the environment; need not exist."
    )


class MongoResource(_SettingsResource):
    """MongoDB, as VFEXPORT_MONGO_URI and VFEXPORT_MONGO_DATABASE say."""

    _settings: Any = PrivateAttr(default=None)
    _client: Any = PrivateAttr(default=None)
    _worker: Any = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Read the settings and make a client; raises ConfigurationError."""
        from vfexport_core.sources.client import connect  # noqa: PLC0415 the web server needs no driver

        if context.run is not None:  # a run has its process to itself, a tick of a sensor has not
            correlation_id = context.run.tags.get(tags.CORRELATION_ID, context.run.run_id)
            telemetry.hold(correlationId=correlation_id, runId=context.run.run_id)
        self._settings = load_settings(self.env_file)
        self._client = connect(self._settings)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        if self._worker is not None:
            self._worker.stop()
        if self._client is not None:
            self._client.close()
        if context.run is not None:
            telemetry.release("correlationId", "runId")
            tracing.flush()

    @property
    def settings(self) -> Settings:
        assert self._settings is not None, "the resource is only usable in a run"
        return self._settings

    @property
    def database(self) -> Database[dict[str, Any]]:
        """The service's database, through a plain client."""
        assert self._client is not None, "the resource is only usable in a run"
        return self._client[self.settings.mongo_database]

    def store(self, *, patience_seconds: float) -> ExportStore:
        """Give the queue to a sensor; its methods raise SourceUnavailable after `patience_seconds` of trying."""
        from vfexport_core.queue.store import ExportStore  # noqa: PLC0415 see above

        lease = self.settings.lease_seconds
        return ExportStore(self.database, patience_seconds=patience_seconds, lease_seconds=lease)

    def worker_store(self) -> ExportStore:
        """Give the queue to a run."""
        from vfexport_core.worker import worker_store  # noqa: PLC0415 see above

        return worker_store(self.database, self.settings)

    def worker(self, claim: Claim, export: Export) -> Worker:
        """Give the run's worker, which keeps its claim alive from the first call to the end of the run."""
        from vfexport_core.worker import Worker  # noqa: PLC0415 see above

        if self._worker is None or self._worker.claim != claim:
            store = self.worker_store()
            worker = Worker(claim, export, settings=self.settings, database=self.database, store=store)
            self._worker = worker.start()
        return self._worker


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


RESOURCES: Mapping[str, Any] = {"mongo": MongoResource(), "buckets": BucketsResource(), "io_manager": run_memory}
"""What jobs and sensors ask for, by name."""
