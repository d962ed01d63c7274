"""Around every request: correlation id, access log, metrics, and the answer to whatever nobody expected."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect

from vfexport_core.api import correlation
from vfexport_core.api.connections import SAFE_HEADERS, STREAMS
from vfexport_core.api.errors import internal_error_response
from vfexport_core.telemetry import context, tracing
from vfexport_core.telemetry.logs import FIELDS_KEY

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vfexport_core.api.draining import Draining
    from vfexport_core.api.metrics import Metrics

_log = logging.getLogger("vfexport_core.api.access")

_STREAM = "text/event-stream"


class RequestMiddleware:
    """The outermost layer of the app; see the module."""

    def __init__(self, app: ASGIApp, metrics: Metrics, draining: Draining) -> None:
        self._app = app
        self._metrics = metrics
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        correlation_id = correlation.accept(headers.get(correlation.HEADER))
        context.enter(**{context.CORRELATION_ID: correlation_id})
        with tracing.span("request", caller=headers.get(tracing.CALLER, "")) as span:
            await self._answer(scope, receive, send, correlation_id, span)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, correlation_id: str, span: tracing.Span
    ) -> None:
        started = time.perf_counter()
        status = 0
        began_streaming: float | None = None

        async def send_marked(message: Message) -> None:
            nonlocal status, began_streaming
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith(_STREAM):
                    began_streaming = time.perf_counter()
                    scope[STREAMS] = True
                headers[correlation.HEADER] = correlation_id
                if self._draining.has_begun:
                    headers["Connection"] = "close"  # the next request goes to another process
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except ClientDisconnect:
            pass  # in the middle of its body: nobody is there to be answered
        except Exception as error:
            span.fail(error)
            _log.exception("unexpected error", extra={FIELDS_KEY: _place(scope)})
            if status:  # an answer has begun: breaking the connection is all that is left
                raise
            await internal_error_response()(scope, receive, send_marked)
        finally:
            # A stream lasts as long as somebody looks: slow is only what is slow to begin.
            seconds = (began_streaming or time.perf_counter()) - started
            place = _place(scope)
            fields = place | {"status": status, "millis": round(1000 * seconds, 1)}
            span.rename(f"{place['method']} {place['route'] or ''}".strip())
            span.set(http__request__method=place["method"], http__route=place["route"])
            span.set(http__response__status_code=status)
            _log.info("request", extra={FIELDS_KEY: fields})
            self._metrics.observe(scope["method"], _route(scope), status, seconds)


def _place(scope: Scope) -> dict[str, object]:
    """Return where a request went, by its route's template: paths and queries are the caller's and may hold ids."""
    return {"method": scope["method"][:16], "route": _route(scope)}


def _route(scope: Scope) -> str | None:
    return getattr(scope.get("route"), "path", None)
