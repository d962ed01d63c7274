"""The ASGI app, put together."""

from __future__ import annotations

import logging
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from vfexport_core.api import documentation
from vfexport_core.api.documentation import describe_api
from vfexport_core.api.errors import answer_error, answer_http_error, answer_validation_error
from vfexport_core.api.metrics import Metrics
from vfexport_core.api.middleware import RequestMiddleware
from vfexport_core.api.queuemetrics import QueueMetrics
from vfexport_core.api.readiness import READY_SECONDS, Readiness, service_checks
from vfexport_core.api.routes import catalog as catalog_routes
from vfexport_core.api.routes import ccpa, dev, ending, exports, health
from vfexport_core.api.services import Access, Services
from vfexport_core.catalog import CATALOG, Registry
from vfexport_core.ccpa.deletion import Deletions
from vfexport_core.ccpa.ledger import Ledger
from vfexport_core.delivery.buckets import BucketClients
from vfexport_core.errors import VfexportError
from vfexport_core.queue.estimate import Estimator
from vfexport_core.queue.reading import ExportReader
from vfexport_core.queue.store import ExportStore
from vfexport_core.sources.client import connect
from vfexport_core.sources.faults import CALLER_LIMITS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from fastapi import APIRouter
    from pymongo.database import Database

    from vfexport_core.settings import Settings

_log = logging.getLogger(__name__)

_GUESS_SECONDS = 2.0
_SILENCE_MILLIS = 20_000


def create_app(
    settings: Settings,
    *,
    database: Database[dict[str, Any]] | None = None,
    store: ExportStore | None = None,
    buckets: BucketClients | None = None,
    catalog: Registry = CATALOG,
    ready_seconds: float = READY_SECONDS,
    warm_up: bool = False,
) -> FastAPI:
    """Make the app; clients that are not given are made from `settings` and closed when the app shuts down.

    Readiness checks get `ready_seconds`; with `warm_up` they begin when the app starts, for S3 clients take longer to
    make than a probe should. Nothing is connected yet. Raises ConfigurationError when the settings do not say whose
    tokens are trusted.
    """
    access = Access.from_settings(settings)
    closing = ExitStack()
    if database is None:
        client = connect(settings, silence_millis=_SILENCE_MILLIS)
        closing.callback(client.close)
        database = client[settings.mongo_database]
    if buckets is None:
        buckets = BucketClients(settings)
        closing.callback(buckets.close)
    checks = service_checks(database, buckets, ready_seconds)
    readiness = Readiness(checks, timeout_seconds=ready_seconds)
    closing.callback(readiness.close)
    queue_metrics = QueueMetrics(database)
    closing.callback(queue_metrics.close)
    seconds, silent_seconds = CALLER_LIMITS.seconds, CALLER_LIMITS.silent_seconds
    store = store or ExportStore(database, patience_seconds=seconds, silent_seconds=silent_seconds)
    ledger = Ledger(database, patience_seconds=seconds, silent_seconds=silent_seconds)
    services = Services(
        settings=settings,
        access=access,
        catalog=catalog,
        database=database,
        store=store,
        estimator=Estimator(ExportReader(database, patience_seconds=_GUESS_SECONDS)),
        buckets=buckets,
        readiness=readiness,
        metrics=Metrics(),
        queue_metrics=queue_metrics,
        deletions=Deletions(settings=settings, database=database, store=store, buckets=buckets, ledger=ledger),
    )
    return _assemble(services, closing, warm_up=warm_up)


def _assemble(services: Services, closing: ExitStack, *, warm_up: bool) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        if services.access.signer is not None:
            _log.warning("dev mode is on: /dev/token gives anybody a token for anything")
        if warm_up:
            services.readiness.begin()
        with closing:
            yield

    app = FastAPI(
        title=documentation.TITLE,
        version=documentation.VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
        middleware=[Middleware(RequestMiddleware, metrics=services.metrics)],
        exception_handlers={
            VfexportError: answer_error,
            RequestValidationError: answer_validation_error,
            HTTPException: answer_http_error,
        },
    )
    routers = [health.router, catalog_routes.router, exports.router, ending.router, ccpa.router]
    routers.append(documentation.router)
    if services.access.signer is not None:
        routers.append(dev.router)
    for router in routers:
        app.include_router(router)
    app.state.services = services
    app.state.methods = _methods(routers)
    app.openapi = partial(_openapi, app, services.catalog)
    return app


def _openapi(app: FastAPI, catalog: Registry) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = describe_api(app, catalog)
    return app.openapi_schema


def _methods(routers: list[APIRouter]) -> dict[str, list[str]]:
    """Give the methods of each path, over all routes that share it."""
    methods: dict[str, set[str]] = {}
    for router in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            methods.setdefault(route.path, set()).update(route.methods or ())
    return {path: sorted(names) for path, names in methods.items()}
