"""Whether this process may lean on what Dagster does not promise: a variable for each, and the versions that are known.

Read from the environment alone: these are decided before there are settings. Imports little, see ``run_coordinator``.
"""

from __future__ import annotations

import logging
import os

import dagster

from vfexport_core.settings import PREFIX

FORKED_RUNS = f"{PREFIX}FORKED_RUNS"
PROMPT_DEQUEUING = f"{PREFIX}PROMPT_DEQUEUING"
KNOWN_VERSIONS = ("1.13.",)
"""Versions of Dagster that do what ``forking`` and ``run_coordinator`` rely on (tests look)."""

_OFF = frozenset({"0", "false", "no", "off"})

_log = logging.getLogger(__name__)


def is_on(switch: str) -> bool:
    """Return whether nobody has switched it off, and the installed Dagster is one that is known."""
    if os.environ.get(switch, "true").lower() in _OFF:
        return False
    if dagster.__version__.startswith(KNOWN_VERSIONS):
        return True
    _log.warning("%s is off: Dagster %s is not one of %s", switch, dagster.__version__, ", ".join(KNOWN_VERSIONS))
    return False
