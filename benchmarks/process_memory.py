"""How much memory a process and those that it starts take, looked at from outside while they run.

Pages that several share count for each in its part (PSS): the sum over all is what the machine gives.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

# Seldom: each look takes a millisecond of a processor from those that are measured.
_EVERY_SECONDS = 0.1
_KIB_PER_MIB = 1024


class MemoryWatch:
    """Looks at a process for the time of a block; then `largest_mib` and `sum_mib` are the highest that were seen."""

    def __init__(self, pid: int) -> None:
        self.largest_mib = 0.0
        self.sum_mib = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            sizes = [pss_mib(pid) for pid in (self._pid, *children(self._pid))]
            self.largest_mib = max(self.largest_mib, *sizes)
            self.sum_mib = max(self.sum_mib, sum(sizes))


def children(pid: int) -> list[int]:
    """Return the processes that a process, any of its threads, has started."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def pss_mib(pid: int) -> float:
    """Return a process's proportional share of memory; 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / _KIB_PER_MIB
    return 0.0
