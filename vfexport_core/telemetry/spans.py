"""The OpenTelemetry SDK, set up; only loaded by ``tracing`` when traces are wanted."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Generator

    from opentelemetry.trace import Span

_SERVICE = "vfexport"
# A process must not be kept by a collector that does not answer: all attempts together take no longer than this.
_SEND_SECONDS = 3.0
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_FLUSH_MILLIS = 5_000
_ID_BYTES = 16

_correlation: ContextVar[str | None] = ContextVar("vfexport_trace_correlation", default=None)


class CorrelatedIds(RandomIdGenerator):
    """Makes the id of a new trace from the correlation id that it belongs to."""

    def generate_trace_id(self) -> int:
        correlation_id = _correlation.get()
        return super().generate_trace_id() if correlation_id is None else trace_id_of(correlation_id)


def trace_id_of(correlation_id: str) -> int:
    """Return the id of the trace of all that has this correlation id; never 0, which is no id."""
    digest = hashlib.sha256(f"{_SERVICE}:{correlation_id}".encode()).digest()
    return int.from_bytes(digest[:_ID_BYTES]) or 1


class Sdk:
    """Spans of this process, sent in batches by a thread; what is left is sent when the process ends."""

    def __init__(self) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME") or _SERVICE
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), id_generator=CorrelatedIds())
        given = any(map(os.environ.get, _TIMEOUTS))
        exporter = OTLPSpanExporter() if given else OTLPSpanExporter(timeout=_SEND_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(_SERVICE)

    @contextmanager
    def started(self, name: str, correlation_id: str | None, caller: str | None) -> Generator[Span]:
        """Begin a span and end it after the block."""
        is_root = not get_current_span().get_span_context().is_valid
        token = _correlation.set(correlation_id)
        try:
            with self._tracer.start_as_current_span(
                name,
                context=Context() if is_root else None,
                kind=SpanKind.SERVER if is_root and caller is not None else SpanKind.INTERNAL,
                links=_links(caller),
                record_exception=False,
                set_status_on_exception=False,
            ) as real:
                if correlation_id is not None:
                    real.set_attribute("vfexport.correlation_id", correlation_id)
                yield real
        finally:
            _correlation.reset(token)

    def fail(self, real: Span, code: str) -> None:
        """Mark a span as failed, by the error's code."""
        real.set_status(Status(StatusCode.ERROR))
        real.set_attribute("error.type", code)

    def flush(self) -> None:
        """Send what has ended."""
        self._provider.force_flush(_FLUSH_MILLIS)


def _links(caller: str | None) -> list[Link]:
    if not caller:
        return []
    found = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": caller}, Context()))
    return [Link(found.get_span_context())] if found.get_span_context().is_valid else []
