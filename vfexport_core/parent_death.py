"""Child processes that do not outlive whoever started them: Linux's parent death signal.

Only the standard library: scripts that have to be up at once import this before anything else.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def ending_with(parent: int, number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return what a child of `parent` calls, between fork and exec or first of all, to get that signal at its end.

    The signal comes when the *thread* that started the child ends, even to a child that is stopped. Where no kernel
    sends one, the call only ends a child whose parent is gone already.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform.startswith("linux") else None

    def end_with_parent() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above
            os.kill(os.getpid(), signal.SIGKILL)

    return end_with_parent
