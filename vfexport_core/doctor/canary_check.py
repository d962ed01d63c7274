"""The canary: does an export come out at the end, whatever the single checks say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.doctor.checks import Check, Finding, failed, ok, warning
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.canary import WAIT_SECONDS, send_canary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfexport_core.settings import Settings

# What it leaves is taken away in this time, too.
_MORE_SECONDS = 60.0


def canary_check(settings: Settings, *, wait_seconds: float = WAIT_SECONDS) -> Check:
    """Return the check that exports a synthetic campaign; it writes to the source collections, and takes that away."""

    def look() -> Iterator[Finding]:
        with Backend(settings) as backend:
            result = send_canary(backend, wait_seconds=wait_seconds)
        if result.problem is None:
            yield ok("canary", f"exported, downloaded and taken away in {result.seconds:.1f} s")
        else:
            yield (failed if result.is_certain else warning)("canary", result.problem, result.hint)

    return Check("canary", wait_seconds + _MORE_SECONDS, look)
