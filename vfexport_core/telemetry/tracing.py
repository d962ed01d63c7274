"""OpenTelemetry traces, if OTEL_EXPORTER_OTLP_ENDPOINT (or ..._TRACES_ENDPOINT) is set; otherwise nothing is loaded.

All that belongs to one correlation id is one trace, whatever process it happens in: the trace's id is made from it. So
nothing but the correlation id, which is on the export anyway, has to travel from the request to the run. No span holds
a person's data, and of an exception only its code.
"""

from __future__ import annotations

import functools
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import INTERNAL_CODE, VfexportError
from vfexport_core.telemetry import context

if TYPE_CHECKING:
    from collections.abc import Generator

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DISABLED = "OTEL_SDK_DISABLED"
CALLER = "traceparent"
"""The header by which a caller names its own trace, which a request's span then refers to."""


class Span:
    """A span that may be one in name only; `set` adds attributes, None is left out."""

    def __init__(self, real: Any = None) -> None:
        self.real = real

    def set(self, **attributes: Any) -> None:
        """Add attributes; ``__`` in a name stands for a dot."""
        if self.real is not None:
            for name, value in attributes.items():
                if value is not None:
                    self.real.set_attribute(name.replace("__", "."), value)

    def rename(self, name: str) -> None:
        if self.real is not None:
            self.real.update_name(name)

    def fail(self, error: BaseException) -> None:
        """Mark it as failed; an error's text stays outside, it may quote data."""
        if self.real is not None:
            code = error.code if isinstance(error, VfexportError) else INTERNAL_CODE
            _sdk().fail(self.real, code)


@contextmanager
def span(name: str, *, caller: str | None = None, **attributes: Any) -> Generator[Span]:
    """Time a block, as part of the span around it, or else of the trace of the current correlation id.

    `caller` is a request's `traceparent`. What the block raises marks the span and comes out.
    """
    if not is_on():
        yield Span()
        return
    with _sdk().started(name, context.correlation_id(), caller) as real:
        found = Span(real)
        found.set(**attributes)
        try:
            yield found
        except BaseException as error:
            found.fail(error)
            raise


def is_on() -> bool:
    """Whether somebody wants traces; looked up each time, which costs nothing, so that nothing is read at import."""
    return any(map(os.environ.get, _ENDPOINTS)) and os.environ.get(_DISABLED, "").lower() != "true"


def flush() -> None:
    """Send what is left, for a few seconds at most: before a process ends in a way that asks nobody."""
    if is_on():
        _sdk().flush()


@functools.cache
def _sdk() -> Any:
    from vfexport_core.telemetry import spans  # noqa: PLC0415 takes half a second, and most processes do without

    return spans.Sdk()
