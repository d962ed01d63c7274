"""One export as an answer shows it: with its download, its place in the queue, and when to ask again."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from vfexport_core.api.wire import export_wire
from vfexport_core.catalog import Bucket
from vfexport_core.delivery.keys import download_name
from vfexport_core.errors import SourceUnavailable
from vfexport_core.queue.models import FINAL, ExportStatus

if TYPE_CHECKING:
    from starlette.requests import Request

    from vfexport_core.api.services import Services
    from vfexport_core.api.wire import ExportWire
    from vfexport_core.queue.estimate import Estimate
    from vfexport_core.queue.models import Export

_log = logging.getLogger(__name__)

_MILLIS = 1000
# Whoever waits for long is told of a queue that moves faster than it seemed.
_LONGEST_RETRY_SECONDS = 60


def full_wire(export: Export, services: Services) -> ExportWire:
    """Give the export's wire form with its pre-signed URL, where it has one file that people download."""
    wire = export_wire(export)
    # The type says which bucket it is; the export itself keeps the bucket's name in S3.
    bucket = services.catalog.find(export.export_type).bucket
    if export.status is ExportStatus.FINISHED and len(export.keys) == 1 and bucket is not Bucket.SFMC:
        key = export.keys[0]
        wire["path"] = services.buckets.sign_download(
            bucket,
            key,
            services.settings.signed_url_seconds,
            download_name(export.campaign_name, export.export_type, key.rpartition(".")[2]),
        )
    return wire


def waiting_wire(wire: ExportWire, place: Estimate | None) -> ExportWire:
    """Add an export's place in the queue to its wire form, while it has one."""
    if place is not None:
        wire["queue"] = {"position": place.position, "startsInSeconds": place.starts_in_seconds}
    return wire


def place_in_queue(export: Export, services: Services) -> Estimate | None:
    """Estimate when a PENDING export starts; None for any other, and while MongoDB has no time for such a question."""
    try:
        return services.estimator.estimate(export)
    except SourceUnavailable as error:
        # What was asked for is done: that must not be answered with an error for want of a guess.
        _log.warning("no estimate for export %s: %s", export.id, error.message)
        return None


def polling_headers(export: Export, place: Estimate | None, services: Services) -> dict[str, str]:
    """Say when to ask again, while the export can still change by itself: not before it is likely to have started."""
    if export.status in FINAL:
        return {}
    interval = max(1, math.ceil(services.settings.polling_interval_millis / _MILLIS))
    wait = min(place.starts_in_seconds, _LONGEST_RETRY_SECONDS) if place is not None else 0
    return {"Retry-After": str(max(interval, wait))}


def location(request: Request, export: Export) -> str:
    """Give the path at which the export can be read."""
    return f"{root_path(request)}/campaigns/{export.campaign_id}/exports/{export.id}"


def root_path(request: Request) -> str:
    """Give the path under which a proxy serves the app."""
    return str(request.scope.get("root_path", "")).rstrip("/")
