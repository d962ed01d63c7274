"""Dagster's instance, asked in a process of its own: this package knows nothing of Dagster but a command that tells."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfexport_core.doctor.checks import Check, Finding, Outcome, failed, not_checked
from vfexport_core.doctor.orchestrator_findings import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOME = "DAGSTER_HOME"
_PACKAGE = "vfexport_dagster"
_MODULE = f"{_PACKAGE}.health"
# Loading Dagster alone takes seconds.
_SECONDS = 60.0


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
        findings = [Finding(item["name"], Outcome(item["outcome"]), item["detail"], item["hint"]) for item in found]
    except (ValueError, KeyError, TypeError):
        yield failed(
            "dagster", f"the instance cannot be opened (exit status {status})", f"Run `python -m {_MODULE}` to see why."
        )
        return
    yield from findings


def print_findings(findings: Iterable[Finding]) -> None:
    """Print what the doctor reads: a list of ``{name, outcome, detail, hint}`` in JSON."""
    told = [dataclasses.asdict(finding) for finding in findings]  # before anything is printed: asking may fail
    json.dump(told, sys.stdout)


def workspace_file() -> Path | None:
    """Return the file that names the code location, if there is one here."""
    home, named = Path(os.environ.get(HOME, "")), os.environ.get(WORKSPACE)
    candidates = [*([Path(named)] if named else []), home / "serve" / "workspace.yaml", home / "workspace.yaml"]
    return next((path for path in candidates if path.is_file()), None)
