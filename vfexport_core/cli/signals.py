"""Signals as exceptions: a command that is asked to stop puts its export in order first."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

# The terminal went away, or somebody says `kill`: the same to us as Ctrl-C.
_STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """A signal other than Ctrl-C's asked the command to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_status(error: KeyboardInterrupt) -> int:
    """Return the shell's status for a command that a signal ended: 130 for Ctrl-C."""
    return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)


@contextlib.contextmanager
def raised() -> Generator[None]:
    """Inside the block SIGTERM and SIGHUP raise `Interrupted`, as SIGINT raises KeyboardInterrupt."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        raise Interrupted(number)

    with _handled(_STOPPING, interrupt):
        yield


@contextlib.contextmanager
def deferred() -> Generator[None]:
    """Inside the block stopping signals wait; the first of them is raised behind it, unless an error is under way."""
    seen: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        del frame
        seen.append(number)

    with _handled((signal.SIGINT, *_STOPPING), remember):
        yield
    if seen:
        raise KeyboardInterrupt if seen[0] == signal.SIGINT else Interrupted(seen[0])


@contextlib.contextmanager
def _handled(numbers: tuple[int, ...], handler: Any) -> Generator[None]:
    """Handle signals inside the block; those that are ignored (`nohup`) stay so. Only the main thread may."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in numbers}
        before = {number: known for number, known in before.items() if known not in {signal.SIG_IGN, None}}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)
