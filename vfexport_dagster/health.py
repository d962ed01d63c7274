"""Is the Dagster instance as exports need it? ``python -m vfexport_dagster.health`` answers in JSON on stdout.

`vfexport doctor` runs it, in a process of its own.
"""

from __future__ import annotations

import dagster as dg

from vfexport_core.doctor.orchestrator_check import print_findings, workspace_file
from vfexport_dagster.instance_state import InstanceState

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        print_findings(InstanceState(instance, workspace_file()))
