"""Is the Dagster instance as exports need it? ``python -m vfexport_dagster.health`` answers in JSON on stdout.

`vfexport doctor` runs it, in a process of its own.
"""

from __future__ import annotations

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from vfexport_core.doctor.orchestrator_check import print_findings, workspace_file
from vfexport_core.doctor.orchestrator_findings import findings, unreachable_storage
from vfexport_dagster.instance_state import InstanceState


def main() -> None:
    """Print what is found, or that the storage does not answer; raises what else is in the way of the instance."""
    try:
        with dg.DagsterInstance.get() as instance:
            print_findings(findings(InstanceState(instance, workspace_file())))
    except Exception as error:
        cause = storage_fault(error)
        if cause is None:
            raise
        print_findings([unreachable_storage(cause)])


def storage_fault(error: BaseException | None) -> str | None:
    """Return the kind of the storage's own error behind another one; its text may hold its address. Else None."""
    while error is not None and not isinstance(error, SQLAlchemyError):
        error = error.__cause__ or error.__context__
    return None if error is None else type(error).__name__


if __name__ == "__main__":
    main()
