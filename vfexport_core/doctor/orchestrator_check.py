"""Dagster's instance, asked in a process of its own: this package knows nothing of Dagster but a command that tells."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vfexport_core.doctor.checks import Check, Finding, Outcome, failed, not_checked
from vfexport_core.doctor.orchestrator_findings import (
    findings,
    refusing_storage,
    unreachable_storage,
    unusable_storage,
)
from vfexport_core.services.workspace_file import HOME, find_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from vfexport_core.telemetry.orchestrator import OrchestratorState

_PACKAGE = "vfexport_dagster"
_MODULE = f"{_PACKAGE}.health"
# Loading Dagster alone takes seconds.
_SECONDS = 60.0
_PRIMARY_CODE = 0xFF
"""The part of SQLite's extended error codes that says which kind they are of."""


def orchestrator_check() -> Check:
    """Return the check of the Dagster instance that DAGSTER_HOME names."""
    return Check("dagster", _SECONDS + 5, _look)


def _look() -> Iterator[Finding]:
    if find_spec(_PACKAGE) is None:
        yield not_checked("dagster", f"{_PACKAGE} is not installed here", "Run the doctor where Dagster's daemon runs.")
        return
    if not os.environ.get(HOME):
        yield not_checked("dagster", f"{HOME} is not set", f"Set {HOME} to the folder of the instance's dagster.yaml.")
        return
    try:
        command = [sys.executable, "-m", _MODULE]
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603 our own
    except subprocess.TimeoutExpired:
        yield failed("dagster", f"no answer within {_SECONDS:g} s", "See whether Dagster's storage can be reached.")
        return
    yield from _told(done.stdout, done.returncode)


def _told(stdout: bytes, status: int) -> Iterator[Finding]:
    """Read the findings; what else the process said may hold the address of its storage, password and all."""
    try:
        found: list[dict[str, Any]] = json.loads(stdout)
        told = [Finding(item["name"], Outcome(item["outcome"]), item["detail"], item["hint"]) for item in found]
    except (ValueError, KeyError, TypeError):
        yield failed(
            "dagster", f"the instance cannot be opened (exit status {status})", f"Run `python -m {_MODULE}` to see why."
        )
        return
    yield from told


@dataclass(frozen=True, slots=True)
class StorageErrors:
    """What an orchestrator's storage raises: at all, and when it does not answer; the others say that it refuses."""

    all: type[Exception]
    no_answer: tuple[type[Exception], ...]

    def behind(self, error: BaseException) -> BaseException | None:
        """Return the storage's own error behind another one, or None."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, self.all):
            cause = cause.__cause__ or cause.__context__
        return cause


def print_findings(
    open_state: Callable[[Path | None], AbstractContextManager[OrchestratorState]], faults: StorageErrors
) -> None:
    """Print what the doctor reads of an orchestrator's state: a list of ``{name, outcome, detail, hint}`` in JSON.

    Or what the storage does instead of telling; raises what else is in the way of it.
    """
    try:
        with open_state(find_workspace()) as state:
            found = [*findings(state)]
    except Exception as error:
        fault = faults.behind(error)
        if fault is None:
            raise
        found = [_fault_finding(fault, faults)]
    json.dump([dataclasses.asdict(finding) for finding in found], sys.stdout)


def _fault_finding(fault: BaseException, faults: StorageErrors) -> Finding:
    error = fault.__cause__
    if isinstance(error, sqlite3.Error):  # called the same whatever it is; its words hold no address
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
        return (refusing_storage if code == sqlite3.SQLITE_ERROR else unusable_storage)(f"SQLite: {error}")
    describe = unreachable_storage if isinstance(fault, faults.no_answer) else refusing_storage
    return describe(type(fault).__name__)  # its text may hold the storage's address
