"""Is the Dagster instance as exports need it? ``python -m vfexport_dagster.health`` answers in JSON on stdout.

`vfexport doctor` runs it, in a process of its own. A list of ``{name, outcome, detail, hint}``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy

from vfexport_core.doctor.checks import Finding, clock_finding, failed, not_checked, ok, warning
from vfexport_dagster.instance_state import heartbeat_ages, location_problem, sensor_states

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKSPACE = "DAGSTER_WORKSPACE"
"""Names the workspace file; else it is the one that `vfexport serve` wrote, or `workspace.yaml` in DAGSTER_HOME."""

# Daemons give a sign of life every 30 s.
_ALIVE_SECONDS = 120.0
# The slowest sensor ticks every 15 s or so, and a tick may wait a minute for a busy code location.
_TICK_SECONDS = 180.0
_SWITCH_ON = "Switch them on in the UI, under Automation."


def findings(instance: dg.DagsterInstance, workspace: Path | None = None) -> Iterator[Finding]:
    """Look at the storage, the daemon, the queue's limit, the monitoring of runs, the code location and the sensors."""
    yield _storage(instance)
    yield _daemon(instance)
    yield _limit(instance)
    yield _monitoring(instance)
    yield _code_location(workspace)
    yield from _sensors(instance)
    yield _clock(instance)


def workspace_file() -> Path | None:
    """Return the file that names the code location, if there is one here."""
    home = Path(os.environ.get("DAGSTER_HOME", ""))
    named = [Path(os.environ[WORKSPACE])] if os.environ.get(WORKSPACE) else []
    candidates = [*named, home / "serve" / "workspace.yaml", home / "workspace.yaml"]
    return next((path for path in candidates if path.is_file()), None)


def _storage(instance: dg.DagsterInstance) -> Finding:
    """Say what the storage is; it answers, since everything else is in it, too."""
    storage: Any = instance.run_storage
    with storage.connect() as connection:
        kind: str = connection.engine.name
        version = ".".join(map(str, connection.dialect.server_version_info or ()))
    alembic = storage.alembic_version()
    if alembic is not None and alembic[0] != alembic[1]:
        return failed(
            "dagster storage",
            f"{kind}: its schema is that of another version of Dagster",
            "Stop Dagster's processes, run `dagster instance migrate`, and start them again.",
        )
    return ok("dagster storage", f"{kind} {version}".strip())


def _clock(instance: dg.DagsterInstance) -> Finding:
    """Compare the clock of Dagster's storage with this process's; the doctor compares that with MongoDB's."""
    storage: Any = instance.run_storage
    before = time.time()
    with storage.connect() as connection:
        told = connection.execute(sqlalchemy.text("SELECT CURRENT_TIMESTAMP")).scalar()
    moment = told if isinstance(told, datetime) else datetime.fromisoformat(str(told)).replace(tzinfo=UTC)
    return clock_finding("dagster clock", moment, before)


def _daemon(instance: dg.DagsterInstance) -> Finding:
    ages = heartbeat_ages(instance)
    silent = [name for name, age in ages.items() if age is None or age > _ALIVE_SECONDS]
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


def _code_location(workspace: Path | None) -> Finding:
    if workspace is None:
        return not_checked(
            "dagster code location", "no workspace file is known here", f"Set {WORKSPACE} to the daemon's --workspace."
        )
    problem = location_problem(workspace)
    if problem is None:
        return ok("dagster code location", f"every location of {workspace.name} answers")
    return failed("dagster code location", problem, "Start the code location; its log says why it does not load.")


def _sensors(instance: dg.DagsterInstance) -> Iterator[Finding]:
    states = sensor_states(instance)
    now = time.time()
    ages = {state.name: state.age(now) for state in states}
    off = [state.name for state in states if state.is_on is False]
    if off:
        yield warning("dagster sensors", f"switched off: {', '.join(off)}", _SWITCH_ON)
    else:
        yield ok("dagster sensors", f"none of {len(states)} is switched off")
    late = [f"{name} ({_ago(age)})" for name, age in ages.items() if name not in off and _is_late(age)]
    failing = [f"{state.name} ({state.failed_ticks} in a row)" for state in states if state.failed_ticks]
    if late:
        yield failed("dagster ticks", f"late: {', '.join(late)}", "Look at the daemon and the code location.")
    elif failing:
        yield failed(
            "dagster ticks", f"failing: {', '.join(failing)}", "The UI shows each tick's error, under Automation."
        )
    else:
        latest = ", ".join(f"{name} {_ago(age)}" for name, age in ages.items() if name not in off)
        yield ok("dagster ticks", latest or "no sensor is on")


def _is_late(age: float | None) -> bool:
    return age is None or age > _TICK_SECONDS


def _ago(age: float | None) -> str:
    return "never" if age is None else f"{age:.0f} s ago"


def main() -> None:
    """Look at the instance that DAGSTER_HOME names."""
    with dg.DagsterInstance.get() as instance:
        json.dump([dataclasses.asdict(finding) for finding in findings(instance, workspace_file())], sys.stdout)


if __name__ == "__main__":
    main()
