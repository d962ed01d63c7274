"""Is the Dagster instance as exports need it? ``python -m vfexport_dagster.health`` answers in JSON on stdout.

`vfexport doctor` runs it, in a process of its own. A list of ``{name, outcome, detail, hint}``.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy

from vfexport_core.doctor.checks import Finding, clock_finding, failed, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster._core.scheduler.instigation import InstigatorState

# Daemons give a sign of life every 30 s.
_ALIVE_SECONDS = 120.0
_SENSORS = ("pending_exports", "run_outcome", "export_watchdog")


def findings(instance: dg.DagsterInstance) -> Iterator[Finding]:
    """Look at the daemon, the queue's limit, the monitoring of runs, the sensors and the clock."""
    yield _daemon(instance)
    yield _limit(instance)
    yield _monitoring(instance)
    yield _sensors(instance)
    yield _clock(instance)


def _clock(instance: dg.DagsterInstance) -> Finding:
    """Compare the clock of Dagster's storage with this process's; the doctor compares that with MongoDB's."""
    storage: Any = instance.run_storage
    before = time.time()
    with storage.connect() as connection:
        told = connection.execute(sqlalchemy.text("SELECT CURRENT_TIMESTAMP")).scalar()
    moment = told if isinstance(told, datetime) else datetime.fromisoformat(str(told)).replace(tzinfo=UTC)
    return clock_finding("dagster clock", moment, before)


def _daemon(instance: dg.DagsterInstance) -> Finding:
    beats = instance.get_daemon_heartbeats()
    now = time.time()
    silent = sorted(
        name
        for name in instance.get_required_daemon_types()
        if name not in beats or now - beats[name].timestamp > _ALIVE_SECONDS
    )
    if silent:
        return failed("dagster daemon", f"not heard of: {', '.join(silent)}", "Start `dagster-daemon run`.")
    return ok("dagster daemon", "alive")


def _limit(instance: dg.DagsterInstance) -> Finding:
    queue = instance.get_concurrency_config().run_queue_config
    limit = None if queue is None else queue.max_concurrent_runs
    if limit == 1:
        return ok("dagster queue", "one run at a time")
    return failed(
        "dagster queue",
        f"the limit is {limit if limit is not None else 'not set'}",
        "Set concurrency.runs.max_concurrent_runs to 1 in dagster.yaml: other runs would only wait, each in a process.",
    )


def _monitoring(instance: dg.DagsterInstance) -> Finding:
    if instance.run_monitoring_enabled:
        return ok("dagster monitoring", "on")
    return failed(
        "dagster monitoring",
        "off: runs that take too long or never start are not ended",
        "Set run_monitoring.enabled to true in dagster.yaml.",
    )


def _sensors(instance: dg.DagsterInstance) -> Finding:
    stopped = sorted(state.instigator_name for state in instance.all_instigator_state() if _is_stopped(state))
    if stopped:
        return warning(
            "dagster sensors", f"switched off: {', '.join(stopped)}", "Switch them on in the UI, under Automation."
        )
    return ok("dagster sensors", "none is switched off")


def _is_stopped(state: InstigatorState) -> bool:
    return state.instigator_name in _SENSORS and not state.is_running


def main() -> None:
    """Look at the instance that DAGSTER_HOME names."""
    with dg.DagsterInstance.get() as instance:
        json.dump([dataclasses.asdict(finding) for finding in findings(instance)], sys.stdout)


if __name__ == "__main__":
    main()
