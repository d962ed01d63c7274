"""The machine, or the container: is there room for a file that is split, and may this process write where it must."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vfexport_core.doctor.checks import Check, Finding, failed, ok, warning
from vfexport_core.services.workspace_file import HOME

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 10.0
_GIBIBYTE = 2**30


def disk_check(spool_max_bytes: int | None = None) -> Check:
    """Return the check of the temporary folder, with as much room as an export may take where it is run here."""
    return Check("temporary folder", _SECONDS, lambda: [_temporary(spool_max_bytes or 0)])


def dagster_home_check() -> Check:
    """Return the check of the folder that DAGSTER_HOME names."""
    return Check("dagster home", _SECONDS, _home)


def _temporary(wanted: int) -> Finding:
    name, folder = "temporary folder", Path(tempfile.gettempdir())
    problem = _write_problem(folder)
    if problem is not None:
        return failed(name, problem, "Make the folder of TMPDIR writable for this process.")
    free = shutil.disk_usage(folder).free
    if free < wanted:
        return warning(
            name,
            f"{free / _GIBIBYTE:.1f} GiB are free in {folder}, and one export may take {wanted / _GIBIBYTE:.1f}",
            "Give it more disk, or lower VFEXPORT_SPOOL_MAX_BYTES: larger ones then fail with SpoolFull.",
        )
    return ok(name, f"{free / _GIBIBYTE:.1f} GiB are free in {folder}")


def _home() -> Iterator[Finding]:
    home = os.environ.get(HOME)
    if not home:
        return  # the check of Dagster says so
    storage = Path(home) / "storage"
    problem = _write_problem(storage if storage.is_dir() else Path(home))
    if problem is None:
        yield ok("dagster home", f"{home} can be written to")
    else:
        yield failed("dagster home", problem, f"Make the folder storage in {HOME} writable for this process.")


def _write_problem(folder: Path) -> str | None:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="vfexport-doctor-"):
            return None
    except OSError as error:
        return f"{folder} cannot be written to: {error.strerror}"
