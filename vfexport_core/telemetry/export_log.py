"""What is done about an export by a process whose own logs somebody else configures, as a line on stderr."""

from __future__ import annotations

from vfexport_core.telemetry.logs import FIELDS_KEY, stderr_logger

# As those who collect the lines know it: sensors tell of exports.
_LOGGER = "vfexport_dagster.sensors"


def log_export(text: str, correlation_id: str | None, export_id: str, **fields: str) -> None:
    """Log it with the correlation id of the export's request, by which its other lines are found."""
    about = {"correlationId": correlation_id, "exportId": export_id, **fields}
    stderr_logger(_LOGGER).info(text, extra={FIELDS_KEY: about})
