"""Is the Dagster instance as exports need it? ``python -m vfexport_dagster.health`` answers in JSON on stdout.

`vfexport doctor` runs it, in a process of its own.
"""

from __future__ import annotations

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vfexport_core.doctor.orchestrator_check import print_findings, workspace_file
from vfexport_core.doctor.orchestrator_findings import findings, refusing_storage, unreachable_storage
from vfexport_dagster.instance_state import opened

_NO_ANSWER = (OperationalError, InterfaceError, PoolTimeout)


def main() -> None:
    """Print what is found, or what the storage does instead; raises what else is in the way of the instance."""
    try:
        with opened(workspace_file()) as state:
            print_findings(findings(state))
    except Exception as error:
        fault: BaseException | None = error
        while fault is not None and not isinstance(fault, SQLAlchemyError):
            fault = fault.__cause__ or fault.__context__
        if fault is None:
            raise
        describe = unreachable_storage if isinstance(fault, _NO_ANSWER) else refusing_storage
        print_findings([describe(type(fault).__name__)])  # its text may hold the storage's address


if __name__ == "__main__":
    main()
