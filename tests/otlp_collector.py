"""An OpenTelemetry collector that keeps the spans it is sent over OTLP/HTTP."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.http_server import serving
from vfexport_core.telemetry.spans import trace_id_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

REQUEST_AND_RUN = {"POST /campaigns/{campaignId}/exports", "claim", "count", "deliver", "scan", "publish", "finish"}
"""The spans of an export, from the request for it to its end."""


@dataclass(frozen=True)
class Sent:
    """A span as it was sent; ids in hex."""

    name: str
    trace: str
    id: str
    parent: str
    service: str
    attributes: dict[str, Any]
    has_failed: bool
    links: tuple[str, ...]
    seconds: float


class Collector(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def spans(self) -> list[Sent]:
        requests = [ExportTraceServiceRequest.FromString(body) for body in list(self.bodies)]
        return [
            _sent(span, resource)
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def trace_of(self, correlation_id: str) -> dict[str, Sent]:
        """Return the spans of all that has this correlation id, by name."""
        trace = f"{trace_id_of(correlation_id):032x}"
        return {span.name: span for span in self.spans if span.trace == trace}


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        self.server.bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def collecting() -> AbstractContextManager[Collector]:
    return serving(Collector())


def _sent(span: Any, resource: Any) -> Sent:
    attributes = {item.key: _value(item.value) for item in span.attributes}
    services = [item.value.string_value for item in resource.resource.attributes if item.key == "service.name"]
    return Sent(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        service=services[0],
        attributes=attributes,
        has_failed=span.status.code == span.status.STATUS_CODE_ERROR,
        links=tuple(link.trace_id.hex() for link in span.links),
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))
