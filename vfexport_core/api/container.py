"""What the routes work with: opened once per app from the settings, shared by all threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from fastapi import Depends, Request

from vfexport_core.api.auth.access import Access
from vfexport_core.api.draining import Draining
from vfexport_core.api.metrics import Metrics
from vfexport_core.api.queue_metrics import QueueMetrics
from vfexport_core.api.readiness import READY_SECONDS, Readiness, service_checks
from vfexport_core.catalog import CATALOG, Registry
from vfexport_core.mongo.retry import CALLER_LIMITS, RetryLimits
from vfexport_core.queue.statistics.estimates import Estimator
from vfexport_core.services.bootstrap import Backend

if TYPE_CHECKING:
    from contextlib import ExitStack

    from pymongo.database import Database

    from vfexport_core.ccpa.deletion_attempt import DeletionTools
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.settings import Settings
    from vfexport_core.storage.buckets import BucketClients

_ESTIMATE_LIMITS = RetryLimits(2.0)
_SILENCE_MILLIS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContainer:
    """Everything that routes need."""

    settings: Settings
    access: Access
    catalog: Registry
    backend: Backend
    estimator: Estimator
    readiness: Readiness
    draining: Draining
    metrics: Metrics
    queue_metrics: QueueMetrics
    deletion_tools: DeletionTools

    @property
    def database(self) -> Database[dict[str, Any]]:
        return self.backend.database

    @property
    def queue(self) -> ExportRepository:
        return self.backend.queue

    @property
    def buckets(self) -> BucketClients:
        return self.backend.buckets

    @classmethod
    def open(
        cls,
        settings: Settings,
        closing: ExitStack,
        *,
        database: Database[dict[str, Any]] | None = None,
        queue: ExportRepository | None = None,
        buckets: BucketClients | None = None,
        catalog: Registry = CATALOG,
        ready_seconds: float = READY_SECONDS,
        caller_limits: RetryLimits = CALLER_LIMITS,
    ) -> AppContainer:
        """Open what is not given; `closing` closes that, and only that. Nothing is connected yet.

        Readiness checks get `ready_seconds`, callers wait for MongoDB within `caller_limits`. Raises ConfigurationError
        when the settings do not say whose tokens are trusted.
        """
        access = Access.from_settings(settings)
        backend = closing.enter_context(
            Backend(
                settings,
                limits=caller_limits,
                caller_limits=caller_limits,
                silence_millis=_SILENCE_MILLIS,
                database=database,
                queue=queue,
                buckets=buckets,
            )
        )
        checks = service_checks(backend.database, backend.buckets, backend.check_initialised, ready_seconds)
        readiness = Readiness(checks, timeout_seconds=ready_seconds)
        closing.callback(readiness.close)
        queue_metrics = QueueMetrics(backend.database)
        closing.callback(queue_metrics.close)
        return cls(
            settings=settings,
            access=access,
            catalog=catalog,
            backend=backend,
            estimator=Estimator(backend.queue_within(_ESTIMATE_LIMITS)),
            readiness=readiness,
            draining=Draining(settings.api_drain_seconds),
            metrics=Metrics(),
            queue_metrics=queue_metrics,
            deletion_tools=backend.deletion_tools,
        )


async def container_of(
    request: Request,
) -> AppContainer:  # async: saves a change of thread, as in every dependency here
    """Return the container of the app that answers this request."""
    container = request.app.state.container
    assert isinstance(container, AppContainer)
    return container


ContainerOf: TypeAlias = Annotated[AppContainer, Depends(container_of)]
