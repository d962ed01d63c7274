"""Is the Dagster instance as exports need it? ``python -m vfexport_dagster.health`` answers in JSON on stdout.

`vfexport doctor` runs it, in a process of its own.
"""

from __future__ import annotations

import dagster as dg
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vfexport_core.doctor.orchestrator_check import print_findings, workspace_file
from vfexport_core.doctor.orchestrator_findings import findings, refusing_storage, unreachable_storage
from vfexport_dagster.instance_state import InstanceState

_NO_ANSWER = (OperationalError, InterfaceError, PoolTimeout)


def main() -> None:
    """Print what is found, or what the storage does instead; raises what else is in the way of the instance."""
    try:
        with dg.DagsterInstance.get() as instance:
            print_findings(findings(InstanceState(instance, workspace_file())))
    except Exception as error:
        fault = storage_fault(error)
        if fault is None:
            raise
        describe = unreachable_storage if isinstance(fault, _NO_ANSWER) else refusing_storage
        print_findings([describe(type(fault).__name__)])  # its text may hold the storage's address


def storage_fault(error: BaseException | None) -> SQLAlchemyError | None:
    """Return the storage's own error behind another one, or None."""
    while error is not None and not isinstance(error, SQLAlchemyError):
        error = error.__cause__ or error.__context__
    return error


if __name__ == "__main__":
    main()
