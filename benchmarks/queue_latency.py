"""How long an export waits for what is not work: from its request, from the end before it, after a crash.

    .venv/bin/python benchmarks/queue_latency.py                      everything: about 15 minutes
    .venv/bin/python benchmarks/queue_latency.py --only b --rounds 3
    .venv/bin/python benchmarks/queue_latency.py --repetitions 5      fewer of (a), (c), (d) and (e)
    .venv/bin/python benchmarks/queue_latency.py --only b --set VFEXPORT_FORKED_RUNS=false

Embedded servers, and Dagster's daemon and code location with the repository's dagster.yaml, as processes. Prints
p50, p95 and maximum in seconds, and where the time of (b) goes; exits 1 when a requirement is not met. README.md says
what is measured.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
import psutil
from latency_stack import Service, poll, running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from vfexport_core.queue.models import Export

IDLE_SECONDS = (6.0, 16.0)
STAGES = ("run ends", "is dequeued", "process starts", "job starts", "claims")


@dataclass(frozen=True)
class Measurement:
    """One line of the table; `measure` gives seconds, one per repetition."""

    name: str
    what: str
    required: float | None
    measure: Callable[[Service, int], list[float]]


def idle(service: Service, repetitions: int) -> list[float]:
    """(a): the sensor's tick is met at a random moment."""
    found: list[float] = []
    for _ in range(repetitions):
        service.idle()
        time.sleep(random.uniform(*IDLE_SECONDS))
        found.append(waited(service.finished(service.request(service.brief[0]))))
    return found


def waited(export: Export) -> float:
    assert export.date.triggered
    return (export.date.triggered - export.date.created).total_seconds()


def busy(service: Service, rounds: int) -> list[float]:
    """(b): all are requested at once; the gaps between one's end and the next one's start."""
    found: list[float] = []
    for _ in range(rounds):
        service.idle()
        requested = [service.request(campaign) for campaign in service.brief]
        done = [service.finished(export) for export in requested]
        assert sorted(done, key=triggered) == done, "out of order"
        for one, following in itertools.pairwise(done):
            assert one.date.finished
            found.append((triggered(following) - one.date.finished).total_seconds())
        tell_stages(done)
    return found


def triggered(export: Export) -> datetime:
    assert export.date.triggered
    return export.date.triggered


def tell_stages(done: Sequence[Export]) -> None:
    """Report where the time between two exports went, by the log of their runs."""
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    with dg.DagsterInstance.get() as instance:
        for one, following in itertools.pairwise(done):
            assert one.date.finished
            moments = [one.date.finished.timestamp()]
            moments.append(_moment(instance, one, "PIPELINE_SUCCESS"))
            moments += [_moment(instance, following, name) for name in ("PIPELINE_STARTING", "process for run")]
            moments += [_moment(instance, following, "PIPELINE_START"), triggered(following).timestamp()]
            for stage, (before, after) in zip(STAGES, itertools.pairwise(moments), strict=True):
                seconds[stage].append(after - before)
    print("   " + ", ".join(f"{stage} {statistics.median(times):.2f}" for stage, times in seconds.items()), flush=True)


def _moment(instance: dg.DagsterInstance, export: Export, what: str) -> float:
    """Return when a run's log says that an event of this type, or with this text, happened."""
    for entry in instance.all_logs(export.run_id or ""):
        kind = entry.dagster_event.event_type_value if entry.dagster_event else ""
        if kind == what or (kind == "ENGINE_EVENT" and what in entry.message):
            return entry.timestamp
    raise LookupError(f"run {export.run_id} has no {what}")


def cancel(service: Service, repetitions: int) -> list[float]:
    """(c): until the process of the run is gone."""
    found: list[float] = []
    for _ in range(repetitions):
        service.idle()
        export, pid = service.in_progress(service.request(service.long))
        began = time.monotonic()
        service.store.request_cancel(export.id)
        poll(lambda pid=pid: True if gone(pid) else None, f"process {pid} to be gone")
        found.append(time.monotonic() - began)
    return found


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill_worker(service: Service, repetitions: int) -> list[float]:
    """(d): until the export that waits behind the lost one has its turn."""

    def strike(pid: int) -> float:
        began = time.time()
        os.kill(pid, signal.SIGKILL)
        return began

    return _until_the_next(service, repetitions, strike)


def kill_all(service: Service, repetitions: int) -> list[float]:
    """(e): from the moment in which the processes are started again."""

    def strike(pid: int) -> float:
        service.kill()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        began = time.time()
        service.start()
        return began

    return _until_the_next(service, repetitions, strike)


def _until_the_next(service: Service, repetitions: int, strike: Callable[[int], float]) -> list[float]:
    """Strike a worker, by its process id, while another export waits; from the moment that `strike` gives."""
    found: list[float] = []
    for _ in range(repetitions):
        service.idle()
        _, pid = service.in_progress(service.request(service.long))
        following = service.request(service.brief[0])
        began = strike(pid)
        found.append(triggered(service.finished(following)).timestamp() - began)
    return found


MEASUREMENTS = (
    Measurement("a", "request -> TRIGGERED, idle queue", 6.0, idle),
    Measurement("b", "end -> next TRIGGERED, 20 queued", 2.0, busy),
    Measurement("c", "cancel -> process gone", None, cancel),
    Measurement("d", "kill -9 of the worker -> next TRIGGERED", 30.0, kill_worker),
    Measurement("e", "kill -9 of all, start -> next TRIGGERED", 20.0, kill_all),
)


def show(measurement: Measurement, found: Sequence[float]) -> bool:
    """Print the line; True when the requirement is met, by the 95th percentile."""
    p50, p95 = percentile(found, 0.5), percentile(found, 0.95)
    limit = measurement.required
    required = "" if limit is None else f"< {limit:g}"
    name = f"({measurement.name}) {measurement.what}"
    print(f"{name:46}{len(found):5}{p50:8.2f}{p95:8.2f}{max(found):8.2f}{required:>10}", flush=True)
    return limit is None or p95 < limit


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000 * len(ordered)) // 1000) - 1))]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="abcde", help="which measurements, by their letters")
    parser.add_argument("--repetitions", type=int, default=10, help="of (a), (c), (d) and (e)")
    parser.add_argument("--rounds", type=int, default=3, help="of (b); each gives 20 figures")
    parser.add_argument("--entries", type=int, default=200, help="of each export that is over at once")
    parser.add_argument("--long-entries", type=int, default=30_000, help="of the export that is cancelled or killed")
    parser.add_argument("--set", action="append", default=[], metavar="VARIABLE=VALUE", help="a setting of the service")
    options = parser.parse_args()
    # As Ctrl-C does: everything that was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results: list[tuple[Measurement, list[float]]] = []
    with running(
        21, options.entries, options.long_entries, dict(given.split("=", 1) for given in options.set)
    ) as service:
        service.finished(service.request(service.brief[0]))  # everything is up and has been used once
        for measurement in MEASUREMENTS:
            if measurement.name in options.only:
                print(f"({measurement.name}) ...", flush=True)
                times = options.rounds if measurement.name == "b" else options.repetitions
                results.append((measurement, measurement.measure(service, times)))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\nseconds; load of the machine over 1, 5 and 15 minutes: {load}")
    print(f"{'':46}{'n':>5}{'p50':>8}{'p95':>8}{'max':>8}{'required':>10}")
    are_met = [show(*result) for result in results]
    return int(not all(are_met))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
