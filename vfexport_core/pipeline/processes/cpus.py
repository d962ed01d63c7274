"""How many processors this process may use: what it is bound to, and what its control group grants it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    _Reader: TypeAlias = Callable[[Path], float | None]

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_UNIFIED = ""
"""What stands for the controllers in the line of a version 2 hierarchy."""


def usable_cpus(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return how many whole processors this process may keep busy, at least 1.

    A quota is rounded down: a process over it is stopped for most of every period, and others wait for it.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(int(quota) for quota in _quotas(groups, membership))]))


def _quotas(groups: Path, membership: Path) -> Iterator[float]:
    """Yield the quotas, in processors, of the groups that this process is in and of those around them."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == _UNIFIED:
            yield from _along(groups, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            # Named by its controllers, with a link for each of them.
            yield from _along(groups / "cpu", path, _quota_v1)


def _along(mount: Path, path: str, read: _Reader) -> Iterator[float]:
    """Read every group from `path` up to the mount; in a container only the mount may be there."""
    group = PurePosixPath(path.lstrip("/"))
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError):
            quota = read(mount / folder)
            if quota is not None:
                yield quota


def _quota_v2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    return None if quota <= 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
