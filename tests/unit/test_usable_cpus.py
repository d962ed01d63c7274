"""How many processors a process may use, by what it is bound to and by the quotas of its control groups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from vfexport_core.pipeline.processes.cpus import usable_cpus

if TYPE_CHECKING:
    from pathlib import Path

BOUND = set(range(6))


@pytest.fixture(autouse=True)
def _six_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: BOUND, raising=False)


def of(folder: Path, membership: str, quotas: dict[str, str]) -> int:
    """Return the answer for groups whose files hold `quotas`."""
    groups, members = folder / "groups", folder / "cgroup"
    members.write_text(membership)
    for name, content in quotas.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(content)
    return usable_cpus(groups, members)


@pytest.mark.parametrize(
    ("quotas", "count"),
    [
        ({}, 6),
        ({"a/b/cpu.max": "max 100000\n"}, 6),
        ({"a/b/cpu.max": "200000 100000\n"}, 2),
        ({"a/b/cpu.max": "150000 100000\n"}, 1),
        ({"a/b/cpu.max": "50000 100000\n"}, 1),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ({"cpu.max": "400000 100000\n"}, 4),  # a container sees its own group at the top
        ({"a/b/cpu.max": "900000 100000\n"}, 6),
        ({"a/b/cpu.max": "nonsense\n"}, 6),
    ],
)
def test_version_2(tmp_path: Path, quotas: dict[str, str], count: int) -> None:
    assert of(tmp_path, "0::/a/b\n", quotas) == count


@pytest.mark.parametrize(
    ("quota", "count"), [("-1\n", 6), ("200000\n", 2), ("250000\n", 2), ("10000\n", 1), ("nonsense\n", 6)]
)
def test_version_1(tmp_path: Path, quota: str, count: int) -> None:
    membership = "12:memory:/pod\n4:cpu,cpuacct:/pod\n1:name=systemd:/\n"
    quotas = {"cpu/pod/cpu.cfs_quota_us": quota, "cpu/pod/cpu.cfs_period_us": "100000\n"}
    assert of(tmp_path, membership, quotas) == count


def test_without_groups_it_is_what_the_process_is_bound_to(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path / "none", tmp_path / "neither") == len(BOUND)
