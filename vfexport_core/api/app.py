"""The ASGI app, put together."""

from __future__ import annotations

import logging
from contextlib import ExitStack, asynccontextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from vfexport_core.api import openapi
from vfexport_core.api.container import AppContainer
from vfexport_core.api.errors import handle_error, handle_http_error, handle_validation_error
from vfexport_core.api.middleware import RequestMiddleware
from vfexport_core.api.page.sign_in import SignInFinder
from vfexport_core.api.routes import ccpa, dev, docs, export_types, exports, health, page, queue
from vfexport_core.errors import VfexportError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from vfexport_core.settings import Settings

_log = logging.getLogger(__name__)


def create_app(settings: Settings, *, warm_up: bool = False, **given: Any) -> FastAPI:
    """Return the app; clients that are not `given` (see `AppContainer.open`) are closed when the app shuts down.

    With `warm_up` readiness checks begin when the app starts: S3 clients take longer to make than a probe should.
    Raises ConfigurationError when the settings do not say whose tokens are trusted.
    """
    closing = ExitStack()
    container = AppContainer.open(settings, closing, **given)
    dev_mode = container.access.signer is not None

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        if dev_mode:
            _log.warning("dev mode is on: /dev/token gives anybody a token for anything")
        if warm_up:
            container.readiness.begin()
        with closing, container.draining.on_sigterm():
            yield

    app = FastAPI(
        title=openapi.TITLE,
        version=openapi.VERSION,
        openapi_url=None,  # these three are in routes.docs
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=openapi.errors(VfexportError),
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
        middleware=[Middleware(RequestMiddleware, metrics=container.metrics, draining=container.draining)],
        exception_handlers={
            VfexportError: handle_error,
            RequestValidationError: handle_validation_error,
            HTTPException: handle_http_error,
        },
    )
    app.state.container = container
    routers = [module.router for module in (health, export_types, exports, queue, ccpa, docs)]
    if dev_mode:
        routers.append(dev.router)
    if settings.admin_page:
        app.state.feed, app.state.sign_in = page.open_feed(container), SignInFinder(settings)
        routers.append(page.router)
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    app.openapi = cache(partial(openapi.openapi_document, app, container.catalog))
    return app
