"""Whether the process that made a claim is gone: said only when it is certain."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vfexport_core.queue import claim_process
from vfexport_core.queue.claim_process import is_gone, new_claim_id

CLAIM = "from vfexport_core.queue.claim_process import new_claim_id; print(new_claim_id(), flush=True); input()"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture
def other() -> subprocess.Popen[str]:
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        yield child
        child.kill()


def claim_of(other: subprocess.Popen[str]) -> str:
    assert other.stdout
    return other.stdout.readline().strip()


def test_this_process_lives_and_its_claims_differ() -> None:
    one, another = new_claim_id(), new_claim_id()
    assert one != another
    assert not is_gone(one)


def test_a_process_that_is_killed_is_gone_also_before_its_parent_has_noticed(other: subprocess.Popen[str]) -> None:
    claim = claim_of(other)
    assert not is_gone(claim)
    other.kill()
    while not is_gone(claim):  # the kernel ends it in a moment; until then it lives
        pass
    other.wait()
    assert is_gone(claim)


def test_another_process_with_the_same_number_is_not_the_one(other: subprocess.Popen[str]) -> None:
    *rest, pid, started = claim_of(other).split(":")
    assert is_gone(":".join([*rest, pid, str(int(started) - 1)]))


@pytest.mark.parametrize("part", [1, 2, 3], ids=["another boot", "another machine", "another namespace"])
def test_of_another_place_nothing_is_known(part: int, other: subprocess.Popen[str]) -> None:
    words = claim_of(other).split(":")
    other.kill()
    other.wait()
    words[part] = words[part][::-1] + "1"
    assert not is_gone(":".join(words))


@pytest.mark.parametrize("claim_id", [None, "", "0" * 32, "a:b:c:d:1:2", "a:b"])
def test_what_says_nothing_of_its_process_is_not_gone(claim_id: str | None) -> None:
    assert not is_gone(claim_id)


def test_where_the_kernel_tells_nothing_nothing_is_known(
    other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claim_of(other)
    other.kill()
    other.wait()
    monkeypatch.setattr(claim_process, "_place", list)
    assert not is_gone(claim)
    assert new_claim_id().count(":") == 2
