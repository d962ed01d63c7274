"""What the routes work with: opened once per app from the settings, shared by all threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from fastapi import Depends, Request

from vfexport_core.api.auth.access import Access
from vfexport_core.api.metrics import Metrics
from vfexport_core.api.queue_metrics import QueueMetrics
from vfexport_core.api.readiness import READY_SECONDS, Readiness, service_checks
from vfexport_core.catalog import CATALOG, Registry
from vfexport_core.ccpa.attempt import DeletionTools
from vfexport_core.ccpa.ledger import Ledger
from vfexport_core.mongo.client import connect
from vfexport_core.mongo.retry import CALLER_LIMITS, RetryLimits
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.queue.statistics.estimates import Estimator
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from contextlib import ExitStack

    from pymongo.database import Database

    from vfexport_core.settings import Settings

_ESTIMATE_LIMITS = RetryLimits(2.0)
_SILENCE_MILLIS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Everything that routes need."""

    settings: Settings
    access: Access
    catalog: Registry
    database: Database[dict[str, Any]]
    store: ExportRepository
    estimator: Estimator
    buckets: BucketClients
    readiness: Readiness
    metrics: Metrics
    queue_metrics: QueueMetrics
    deletion_tools: DeletionTools

    @classmethod
    def open(
        cls,
        settings: Settings,
        closing: ExitStack,
        *,
        database: Database[dict[str, Any]] | None = None,
        store: ExportRepository | None = None,
        buckets: BucketClients | None = None,
        catalog: Registry = CATALOG,
        ready_seconds: float = READY_SECONDS,
    ) -> Container:
        """Open what is not given; `closing` closes that, and only that. Nothing is connected yet.

        Readiness checks get `ready_seconds`. Raises ConfigurationError when the settings do not say whose tokens are
        trusted.
        """
        access = Access.from_settings(settings)
        if database is None:
            client = connect(settings, silence_millis=_SILENCE_MILLIS)
            closing.callback(client.close)
            database = client[settings.mongo_database]
        if buckets is None:
            buckets = BucketClients(settings)
            closing.callback(buckets.close)
        readiness = Readiness(service_checks(database, buckets, ready_seconds), timeout_seconds=ready_seconds)
        closing.callback(readiness.close)
        queue_metrics = QueueMetrics(database)
        closing.callback(queue_metrics.close)
        seconds, silent_seconds = CALLER_LIMITS.seconds, CALLER_LIMITS.silent_seconds
        store = store or ExportRepository(database, CALLER_LIMITS)
        ledger = Ledger(database, patience_seconds=seconds, silent_seconds=silent_seconds)
        return cls(
            settings=settings,
            access=access,
            catalog=catalog,
            database=database,
            store=store,
            estimator=Estimator(ExportRepository(database, _ESTIMATE_LIMITS)),
            buckets=buckets,
            readiness=readiness,
            metrics=Metrics(),
            queue_metrics=queue_metrics,
            deletion_tools=DeletionTools(
                settings=settings, database=database, store=store, buckets=buckets, ledger=ledger
            ),
        )


async def container_of(request: Request) -> Container:  # async: saves a change of thread, as in every dependency here
    """Return the container of the app that answers this request."""
    container = request.app.state.container
    assert isinstance(container, Container)
    return container


ContainerOf: TypeAlias = Annotated[Container, Depends(container_of)]
