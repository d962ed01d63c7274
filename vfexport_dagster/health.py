"""Is the Dagster instance as exports need it? ``python -m vfexport_dagster.health`` answers in JSON on stdout.

`vfexport doctor` runs it, in a process of its own.
"""

from __future__ import annotations

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError, TimeoutError  # noqa: A004 the pool's

from vfexport_core.doctor.orchestrator_check import StorageErrors, print_findings
from vfexport_dagster.instance_state import opened

FAULTS = StorageErrors(SQLAlchemyError, no_answer=(OperationalError, InterfaceError, TimeoutError))


def main() -> None:
    """Print what is found, or what the storage does instead; raises what else is in the way of the instance."""
    print_findings(opened, FAULTS)


if __name__ == "__main__":
    main()
