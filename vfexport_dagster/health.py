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

from vfexport_core.doctor import orchestrator_findings as said
from vfexport_core.doctor.checks import Finding, clock_finding
from vfexport_dagster.instance_state import heartbeat_ages, location_problem, sensor_states

if TYPE_CHECKING:
    from collections.abc import Iterator


def findings(instance: dg.DagsterInstance, workspace: Path | None = None) -> Iterator[Finding]:
    """Look at the storage, the daemon, the queue's limit, the monitoring of runs, the code location and the sensors."""
    storage: Any = instance.run_storage
    with storage.connect() as connection:
        version = ".".join(map(str, connection.dialect.server_version_info or ()))
        kind: str = connection.engine.name
    alembic, queue = storage.alembic_version(), instance.get_concurrency_config().run_queue_config
    yield said.storage_finding(kind, version, is_migrated=alembic is None or alembic[0] == alembic[1])
    yield said.daemon_finding(heartbeat_ages(instance))
    yield said.limit_finding(None if queue is None else queue.max_concurrent_runs)
    yield said.monitoring_finding(is_on=instance.run_monitoring_enabled)
    yield said.location_finding(workspace and workspace.name, workspace and location_problem(workspace))
    yield from said.sensor_findings(sensor_states(instance))
    yield _clock(storage)


def _clock(storage: Any) -> Finding:
    """Compare the clock of Dagster's storage with this process's; the doctor compares that with MongoDB's."""
    before = time.time()
    with storage.connect() as connection:
        told = connection.execute(sqlalchemy.text("SELECT CURRENT_TIMESTAMP")).scalar()
    moment = told if isinstance(told, datetime) else datetime.fromisoformat(str(told)).replace(tzinfo=UTC)
    return clock_finding("dagster clock", moment, before)


def workspace_file() -> Path | None:
    """Return the file that names the code location, if there is one here."""
    home, named = Path(os.environ.get("DAGSTER_HOME", "")), os.environ.get(said.WORKSPACE)
    candidates = [*([Path(named)] if named else []), home / "serve" / "workspace.yaml", home / "workspace.yaml"]
    return next((path for path in candidates if path.is_file()), None)


def main() -> None:
    """Look at the instance that DAGSTER_HOME names."""
    with dg.DagsterInstance.get() as instance:
        json.dump([dataclasses.asdict(finding) for finding in findings(instance, workspace_file())], sys.stdout)


if __name__ == "__main__":
    main()
