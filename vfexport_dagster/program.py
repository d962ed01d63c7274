"""Dagster's own programs as they run in production: ``python -m vfexport_dagster.program dagster-daemon run ...``.

Their log lines have this service's form, and those that ask Dagster's storage all the time keep their connections to it
(``startup``); what else they do is unchanged.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

from vfexport_core.telemetry.logs import log_in_one_shape
from vfexport_dagster.startup.known import SWITCH, is_wanted


def main() -> None:
    """Run the program that the first argument names, with the others."""
    sys.argv = sys.argv[1:]
    if is_wanted(SWITCH):
        adapt()
    (script,) = entry_points(group="console_scripts", name=sys.argv[0])
    sys.exit(script.load()())


def adapt() -> None:
    """Have this process, which is about to be one of Dagster's, do what is said above."""
    from vfexport_dagster.startup.connections import keep_connections  # noqa: PLC0415 it imports much of Dagster

    log_in_one_shape()
    keep_connections()


if __name__ == "__main__":
    main()
