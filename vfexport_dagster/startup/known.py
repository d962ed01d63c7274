"""Whether what leans on Dagster's private parts may be done here: by a switch, and with versions that are known."""

from __future__ import annotations

import logging
import os

import dagster

from vfexport_core.settings import PREFIX

KNOWN_VERSIONS = ("1.13.",)
"""Versions of Dagster whose private parts are as is relied on here (tests look)."""

SWITCH = "DAGSTER_ADAPTED"
"""Of everything but forked runs and prompt dequeuing, which have one of their own each."""

_OFF = frozenset({"0", "false", "no", "off"})

_log = logging.getLogger(__name__)


def is_wanted(switch: str) -> bool:
    """Return whether a switch is on, which it is by default; with an unknown Dagster it is off, and a warning says so.

    Read from the environment alone: it is decided before there are settings.
    """
    name = f"{PREFIX}{switch}"
    if os.environ.get(name, "true").lower() in _OFF:
        return False
    is_known = dagster.__version__.startswith(KNOWN_VERSIONS)
    if not is_known:
        _log.warning("%s is off: Dagster %s is not one of %s", name, dagster.__version__, ", ".join(KNOWN_VERSIONS))
    return is_known
