"""Running checks: all at once, each on a thread of its own, given up when its time is over; none stops another."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from vfexport_core.errors import VfexportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

_SKEW_SECONDS = 30.0
"""So far apart may clocks be before somebody should look; an answer may take some seconds as well."""


class Outcome(StrEnum):
    """What came of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as well as it should."""
    FAILED = "failed"
    NOT_CHECKED = "not checked"
    """It could not be looked at from here, or need not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one thing, and what to do about it if it is not as it should be."""

    name: str
    outcome: Outcome
    detail: str
    hint: str = ""


def ok(name: str, detail: str) -> Finding:
    """Return a finding that needs nobody."""
    return Finding(name, Outcome.OK, detail)


def warning(name: str, detail: str, hint: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(name, Outcome.WARNING, detail, hint)


def failed(name: str, detail: str, hint: str) -> Finding:
    """Return a finding without whose correction exports or requests fail."""
    return Finding(name, Outcome.FAILED, detail, hint)


def not_checked(name: str, detail: str, hint: str = "") -> Finding:
    """Describe why something was not looked at."""
    return Finding(name, Outcome.NOT_CHECKED, detail, hint)


def failure(name: str, error: Exception) -> Finding:
    """Describe what an exception means; the text of one that is not ours may hold a secret, so it is only named."""
    if isinstance(error, VfexportError):
        return failed(name, f"{error.code}: {error.message}", error.hint)
    return failed(name, f"unexpected {type(error).__name__}", "This is a bug in the check: report it.")


def clock_finding(name: str, told: datetime, asked: float) -> Finding:
    """Compare a server's clock with this process's: what it `told` when it was `asked`, in seconds since the epoch."""
    skew = told.timestamp() - asked
    detail = f"{skew:+.0f} s from this machine's clock"
    if abs(skew) < _SKEW_SECONDS:
        return ok(name, detail)
    return warning(
        name, detail, "Have both machines set their clocks by NTP: up to 15 minutes end no export, but mislead people."
    )


@dataclass(slots=True)
class Check:
    """Something to look at, under `name`; `look` gives its findings one by one, and may raise."""

    name: str
    seconds: float
    look: Callable[[], Iterable[Finding]]
    _found: list[Finding] = field(default_factory=list[Finding])
    _thread: threading.Thread | None = None

    def start(self) -> None:
        # A daemon: a check that hangs does not keep the process.
        self._thread = threading.Thread(target=self._run, name=f"check {self.name}", daemon=True)
        self._thread.start()

    def findings(self, until: float) -> list[Finding]:
        """Wait until `until` (monotonic) at most, and give what was found so far."""
        assert self._thread is not None, "the check was not started"
        self._thread.join(max(0.0, until - time.monotonic()))
        found = list(self._found)
        if self._thread.is_alive():
            found.append(failed(self.name, f"no answer within {self.seconds:g} s", "See whether it can be reached."))
        return found

    def _run(self) -> None:
        try:
            for finding in self.look():
                self._found.append(finding)
        except Exception as error:  # noqa: BLE001 whatever it is, the other checks go on
            self._found.append(failure(self.name, error))


def run_checks(checks: Sequence[Check]) -> list[Finding]:
    """Run all checks and return their findings, in the order of the checks."""
    began = time.monotonic()
    for check in checks:
        check.start()
    return [finding for check in checks for finding in check.findings(began + check.seconds)]
