"""Whether what leans on Dagster's private parts may be done here: by a switch, and with versions that are known."""

from __future__ import annotations

import logging

import dagster

from vfexport_core.settings import PREFIX, is_switched_off

KNOWN_VERSIONS = ("1.13.",)
"""Versions of Dagster whose private parts are as is relied on here (tests look)."""

SWITCH = "DAGSTER_ADAPTED"
"""Of everything but forked runs and prompt dequeuing, which have one of their own each."""

_log = logging.getLogger(__name__)


def is_wanted(switch: str) -> bool:
    """Return whether a switch is on, as by default; with an unknown Dagster it is off, and a warning says so."""
    if is_switched_off(switch):
        return False
    is_known = dagster.__version__.startswith(KNOWN_VERSIONS)
    if not is_known:
        known = ", ".join(KNOWN_VERSIONS)
        _log.warning("%s%s is off: Dagster %s is not one of %s", PREFIX, switch, dagster.__version__, known)
    return is_known
