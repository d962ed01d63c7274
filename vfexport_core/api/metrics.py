"""What `/metrics` says (Prometheus): this service's requests, its processes, and the queue as MongoDB has it.

Requests are counted by each process, with several of them (`vfexport api --workers`) through files that they share in
the folder that PROMETHEUS_MULTIPROC_DIR names. What is about exports comes from MongoDB at each scrape: it is the
same whichever process, on whichever machine, answers. No label holds an id.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    multiprocess,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OTHER = "other"
_HUNDRED = 100
# Of what ProcessCollector knows, that which makes sense as a sum over processes.
_SUMMED = {
    "process_cpu_seconds_total": ("process_cpu_seconds", "CPU time of the API's processes.", CounterMetricFamily),
    "process_resident_memory_bytes": (
        "process_resident_memory_bytes",
        "Memory of the API's processes.",
        GaugeMetricFamily,
    ),
    "process_open_fds": ("process_open_fds", "Open files of the API's processes.", GaugeMetricFamily),
}


class Metrics:
    """Counts requests, and writes everything out."""

    def __init__(self) -> None:
        disable_created_metrics()  # when a series began doubles their number, and nobody asks for it
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "vfexport_http_requests",
            "Requests answered, by the route's template; status is a class such as 2xx.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "vfexport_http_request_seconds",
            "How long requests took.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        # Makes this process's file: it is counted from its start on, not from its first request on.
        self._requests.labels("GET", "/heartbeat", "2xx")

    def observe(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request; `status` is 0 when it got no answer. What callers make up does not become a label."""
        method, route = method if method in _METHODS else _OTHER, route or _OTHER
        self._requests.labels(method, route, f"{status // _HUNDRED}xx" if status else "none").inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self, more: Iterable[Metric]) -> bytes:
        """Write out the requests of all processes, the processes, and `more`."""
        folder = os.environ.get(SHARED_FOLDER)
        registry, pids = self._registry, [os.getpid()]
        if folder is not None:
            registry, pids = CollectorRegistry(), _living(Path(folder))
            multiprocess.MultiProcessCollector(registry, folder)
        families = _Families([*registry.collect(), *_processes(pids), _build(), *more])
        return generate_latest(families)


def of_readiness(outcomes: Mapping[str, str]) -> Metric:
    """Return what each of the readiness checks came to."""
    ready = GaugeMetricFamily("vfexport_ready", "Whether a check of /ready succeeds.", labels=["check"])
    for check, outcome in outcomes.items():
        ready.add_metric([check], float(outcome == "ok"))
    return ready


class _Families(CollectorRegistry):
    """Stands for a registry that has collected already."""

    def __init__(self, families: list[Metric]) -> None:
        super().__init__()
        self._collected = families

    def collect(self) -> Iterator[Metric]:
        yield from self._collected


def _living(folder: Path) -> list[int]:
    """Return the processes that count requests in the folder: its files are named ``counter_{pid}.db``."""
    pids = {int(file.stem.rpartition("_")[2]) for file in folder.glob("counter_*.db")} | {os.getpid()}
    return sorted(pid for pid in pids if Path(f"/proc/{pid}").exists())


def _build() -> Metric:
    labels = {"version": metadata.version("vfexport"), "python": platform.python_version()}
    info = GaugeMetricFamily("vfexport_build_info", "Which version runs; always 1.", labels=[*labels])
    info.add_metric([*labels.values()], 1)
    return info


def _processes(pids: list[int]) -> Iterator[Metric]:
    sums: dict[str, float] = {}
    for pid in pids:
        for family in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    yield GaugeMetricFamily("vfexport_api_processes", "Processes that answer requests.", value=len(pids))
    for sample_name, (name, documentation, kind) in _SUMMED.items():
        if sample_name in sums:
            yield kind(name, documentation, value=sums[sample_name])
