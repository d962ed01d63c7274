"""The queue's part of `/metrics`: read from MongoDB once per scrape, by one thread, and written as metric families."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from vfexport_core.catalog import Bucket, all_specs
from vfexport_core.errors import VfexportError
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.queue.models import ExportStatus
from vfexport_core.queue.outbox import DeliveryStatus
from vfexport_core.queue.statistics.counters import Counters, Durations, ExportCounters
from vfexport_core.queue.statistics.depth import CountSince, QueueDepth, read_depth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from prometheus_client import Metric
    from pymongo.database import Database

_log = logging.getLogger(__name__)

# A scraper waits ten seconds at most; there are eight questions.
_LIMITS = RetryLimits(1.2)
_FRESH_SECONDS = 1.0
_UNSENT = (DeliveryStatus.PENDING, DeliveryStatus.DEAD)
_OUTCOMES = (ExportStatus.FINISHED, ExportStatus.FAILED, ExportStatus.EXPIRED, ExportStatus.CANCELED)

_Sum = TypeVar("_Sum")


class QueueMetrics:
    """Asks MongoDB on a thread of its own. Whoever asks while it does, or just after, shares the answer."""

    def __init__(self, database: Database[dict[str, Any]], *, limits: RetryLimits = _LIMITS) -> None:
        self._database = database
        self._limits = limits
        self._counters = ExportCounters(database, limits)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._answer: Future[list[Metric]] | None = None
        self._asked = 0.0

    async def families(self) -> list[Metric]:
        """Return the families; only ``vfexport_mongodb_up`` (0) when MongoDB does not answer."""
        answer = self._answer
        if answer is None or (answer.done() and time.monotonic() - self._asked > _FRESH_SECONDS):
            answer = self._answer = self._pool.submit(self._read)
            self._asked = time.monotonic()
        return await asyncio.shield(asyncio.wrap_future(answer))

    def close(self) -> None:
        """Wait for the reading under way, so that it does not use a client that is closed next."""
        self._pool.shutdown(cancel_futures=True)

    def _read(self) -> list[Metric]:
        try:
            counters = self._counters.read()
            depth = read_depth(self._database, self._limits)
        except VfexportError as error:
            _log.warning("the queue's metrics are missing: %s: %s", error.code, error.message)
            return [_up(0)]
        return [_up(1), *_of_depth(depth, counters.now), *_of_counters(counters)]


def _up(value: int) -> Metric:
    return GaugeMetricFamily(
        "vfexport_mongodb_up", "Whether MongoDB answered; without it there are no figures of exports.", value=value
    )


def _of_depth(depth: QueueDepth, now: datetime) -> Iterator[Metric]:
    exports = GaugeMetricFamily("vfexport_queue_exports", "Exports that wait (PENDING) or run.", labels=["status"])
    exports.add_metric(["PENDING"], depth.pending.count)
    exports.add_metric(["TRIGGERED"], depth.triggered.count)
    yield exports
    yield GaugeMetricFamily(
        "vfexport_queue_due",
        "Exports that wait for their turn alone, neither for their next attempt's time nor for a bucket.",
        value=depth.due,
    )
    yield _age(
        "vfexport_queue_oldest_pending_seconds", "For how long the longest has been PENDING.", depth.pending, now
    )
    yield _age("vfexport_queue_running_seconds", "For how long the running export runs.", depth.triggered, now)
    yield GaugeMetricFamily(
        "vfexport_queue_paused",
        "Whether the queue is paused: nothing is claimed.",
        value=float(depth.pause is not None),
    )
    hanging = GaugeMetricFamily(
        "vfexport_bucket_hangs", "Whether the exports into a bucket wait because it does not answer.", labels=["bucket"]
    )
    for bucket in Bucket:
        hanging.add_metric([bucket.value], float(bucket in depth.hanging))
    yield hanging
    yield GaugeMetricFamily("vfexport_ccpa_open", "CCPA deletions that are not complete.", value=depth.deletions.count)
    yield GaugeMetricFamily(
        "vfexport_ccpa_at_work", "CCPA deletions that somebody works on at this moment.", value=depth.deletions_at_work
    )
    yield _age("vfexport_ccpa_oldest_open_seconds", "Age of the oldest of them.", depth.deletions, now)
    told = {status: depth.notifications.get(status, CountSince(0, None)) for status in _UNSENT}
    notifications = GaugeMetricFamily(
        "vfexport_notifications",
        "Notifications that are to be sent (pending), or were given up (dead).",
        labels=["status"],
    )
    for status, backlog in told.items():
        notifications.add_metric([status.value], backlog.count)
    yield notifications
    pending = told[DeliveryStatus.PENDING]
    yield _age("vfexport_notifications_oldest_pending_seconds", "Age of the oldest to be sent.", pending, now)


def _age(name: str, documentation: str, backlog: CountSince, now: datetime) -> Metric:
    seconds = 0.0 if backlog.since is None else max(0.0, (now - backlog.since).total_seconds())
    return GaugeMetricFamily(name, documentation, value=seconds)


def _of_counters(counters: Counters) -> Iterator[Metric]:
    ended = CounterMetricFamily("vfexport_exports_ended", "Attempts that ended.", labels=["type", "outcome"])
    none_yet = {(spec.type, outcome): 0 for spec in all_specs() for outcome in _OUTCOMES}
    for (export_type, outcome), count in (none_yet | dict(counters.ended)).items():
        ended.add_metric([export_type, outcome.value], count)
    retried = CounterMetricFamily(
        "vfexport_exports_retried", "Attempts that FAILED, and another one followed by itself.", labels=["type"]
    )
    rows = CounterMetricFamily("vfexport_export_rows", "Rows of finished exports.", labels=["type"])
    size = CounterMetricFamily("vfexport_export_bytes", "Bytes of finished exports.", labels=["type"])
    for family, sums in ((retried, counters.retried), (rows, counters.rows), (size, counters.bytes)):
        for export_type, amount in _from_zero(sums, 0).items():
            family.add_metric([export_type], amount)
    seconds = HistogramMetricFamily("vfexport_export_seconds", "From claim to FINISHED.", labels=["type"])
    for export_type, durations in _from_zero(counters.seconds, Durations.from_document({})).items():
        seconds.add_metric([export_type], _buckets(durations), durations.total_seconds)
    waits = HistogramMetricFamily("vfexport_queue_wait_seconds", "From request or retry to claim.", labels=[])
    waits.add_metric([], _buckets(counters.waits), counters.waits.total_seconds)
    lost = CounterMetricFamily("vfexport_lease_losses", "Workers and runs that lost their export.", labels=["reason"])
    for reason, count in counters.leases_lost.items():
        lost.add_metric([reason], count)
    yield from (ended, retried, rows, size, seconds, waits, lost)


def _from_zero(by_type: Mapping[str, _Sum], zero: _Sum) -> dict[str, _Sum]:
    """Return the sums with those of types of which nothing has ended yet: no increase is seen of what begins at one."""
    return dict.fromkeys((spec.type for spec in all_specs()), zero) | dict(by_type)


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """Return the cumulative counts that Prometheus wants."""
    total, buckets = 0, list[tuple[str, float]]()
    for bound, count in durations.counts.items():
        total += count
        buckets.append(("+Inf" if bound is None else str(float(bound)), total))
    return buckets
