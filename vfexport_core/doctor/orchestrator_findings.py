"""What the doctor says of the Dagster instance, by what that tells of itself: whether it is as exports need it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vfexport_core.doctor.checks import Finding, clock_finding, failed, not_checked, ok, warning
from vfexport_core.services.workspace_file import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vfexport_core.telemetry.orchestrator import OrchestratorState, SensorState

# Daemons give a sign of life every 30 s.
_ALIVE_SECONDS = 120.0
# The slowest sensor ticks once a minute (`notifications` without a webhook), and may wait as long for a busy location.
_TICK_SECONDS = 180.0
_SWITCH_ON = "Switch them on in the UI, under Automation."


def findings(state: OrchestratorState) -> Iterator[Finding]:
    """Look at the storage, the daemon, the queue's limit, the monitoring of runs, the code location and the sensors."""
    asked = time.time()
    storage = state.storage()
    yield storage_finding(storage.kind, storage.version, is_migrated=storage.is_migrated)
    yield daemon_finding(state.heartbeat_ages())
    yield limit_finding(state.run_limit())
    yield monitoring_finding(is_on=state.is_monitored())
    yield location_finding(state.workspace and state.workspace.name, state.location_problem())
    yield from sensor_findings(state.sensors())
    yield clock_finding("dagster clock", storage.clock, asked)  # the doctor compares this machine's with MongoDB's


def unreachable_storage(fault: str) -> Finding:
    """Report that the storage does not answer, and by which kind of error."""
    return failed(
        "dagster storage",
        f"it does not answer ({fault}): no run begins; an export that runs goes on",
        "Start it, or correct its address, user and password: DAGSTER_PG_*, PGSSLMODE, PGSSLROOTCERT for PostgreSQL.",
    )


def refusing_storage(fault: str) -> Finding:
    """Report that the storage answers, and refuses what it is asked: by which kind of error, or in SQLite's words."""
    return failed(
        "dagster storage",
        f"it refuses what Dagster asks ({fault}): no run begins; an export that runs goes on",
        "Stop Dagster's processes, run `dagster instance migrate`, and start them again; else see the storage's log.",
    )


def unusable_storage(fault: str) -> Finding:
    """Report that the storage is a file which cannot be read or written, in SQLite's words."""
    return failed(
        "dagster storage",
        f"its file cannot be used ({fault}): no run begins; an export that runs goes on",
        "Look at the disk and at the *.db files in history and schedules of Dagster's storage: is there room, may this "
        "user write to them, does anything hold them?",
    )


def storage_finding(kind: str, version: str, *, is_migrated: bool) -> Finding:
    """Report what the storage is; it answers, since everything else is in it, too."""
    if not is_migrated:
        return failed(
            "dagster storage",
            f"{kind}: its schema is that of another version of Dagster",
            "Stop Dagster's processes, run `dagster instance migrate`, and start them again.",
        )
    return ok("dagster storage", f"{kind} {version}".strip())


def daemon_finding(ages: Mapping[str, float | None]) -> Finding:
    """Report which daemons gave no sign of life for too long; None: never any."""
    silent = [name for name, age in ages.items() if age is None or age > _ALIVE_SECONDS]
    if silent:
        return failed("dagster daemon", f"not heard of: {', '.join(silent)}", "Start `dagster-daemon run`.")
    return ok("dagster daemon", "alive")


def limit_finding(limit: int | None) -> Finding:
    """Report whether the orchestrator runs one export at a time."""
    if limit == 1:
        return ok("dagster queue", "one run at a time")
    return failed(
        "dagster queue",
        f"the limit is {limit if limit is not None else 'not set'}",
        "Set concurrency.runs.max_concurrent_runs to 1 in dagster.yaml: other runs would only wait, each in a process.",
    )


def monitoring_finding(*, is_on: bool) -> Finding:
    """Report whether runs that take too long or never start are ended."""
    if is_on:
        return ok("dagster monitoring", "on")
    return failed(
        "dagster monitoring",
        "off: runs that take too long or never start are not ended",
        "Set run_monitoring.enabled to true in dagster.yaml.",
    )


def location_finding(workspace: str | None, problem: str | None) -> Finding:
    """Report whether the code locations of a workspace file answer, or which problem there is."""
    if workspace is None:
        return not_checked(
            "dagster code location", "no workspace file is known here", f"Set {WORKSPACE} to the daemon's --workspace."
        )
    if problem is None:
        return ok("dagster code location", f"every location of {workspace} answers")
    return failed("dagster code location", problem, "Start the code location; its log says why it does not load.")


def sensor_findings(states: Sequence[SensorState]) -> Iterator[Finding]:
    """Report which sensors are off, and which are late or fail."""
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
