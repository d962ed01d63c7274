"""Whom the waitlist leaves out: exact for any id, and 2,000,000 of them in little memory."""

from __future__ import annotations

import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from bson import Decimal128, Int64, ObjectId

from tests.reference.values import id_key as reference_key
from vfexport_core.rows.cells import cells_of_values
from vfexport_core.rows.comparable_ids import key_texts
from vfexport_core.rows.members import MemberSet

if TYPE_CHECKING:
    import pyarrow as pa

LENGTHS = (1, 5, 12, 24, 36, 39, 40, 41, 64, 300)


def some_id(random: Random) -> str:
    return "".join(random.choices("0123456789abcdefABCDEFé-", k=random.choice(LENGTHS)))


def keys(values: list[object]) -> pa.Array:
    return key_texts(cells_of_values(values))


@pytest.mark.parametrize("seed", range(5))
def test_it_holds_what_a_set_of_texts_holds(seed: int):
    random = Random(seed)
    lists = [[some_id(random) for _ in range(random.choice([0, 1, 500]))] for _ in range(20)]
    inside = [member for members in lists for member in members]
    asked = [*random.sample(inside, min(len(inside), 300)), *(some_id(random) for _ in range(300)), "", "\0"]
    wanted = {reference_key(member) for member in inside}
    members = MemberSet(lists)
    assert len(members) == len(wanted)
    assert members.holds(keys(asked)).tolist() == [bool(key) and reference_key(key) in wanted for key in asked]


def test_ids_of_any_type_are_compared_as_ids():
    oid = ObjectId("5EEDFAB0CAFE00000000000A")
    members = MemberSet([[12, oid, Decimal128("1.50"), 7.0, None, "", "a\0b", True], [Int64(12), "x" * 41]])
    asked = ["12", 12.0, str(oid).upper(), "1.50", 7, None, "", "ab", "true", "x" * 41, "x" * 40, "x" * 42, "1", "12 "]
    assert members.holds(keys(asked)).tolist() == [True] * 5 + [False] * 2 + [True] * 3 + [False] * 4
    assert len(members) == 7


@pytest.mark.parametrize("lists", [[], [[]], [[None, ""]], [["x" * 50]]])
def test_sets_of_nothing_or_of_the_long_only(lists: list[list[object]]):
    members = MemberSet(lists)
    assert members.holds(keys(["x" * 50, "x", None, ""])).tolist() == [lists == [["x" * 50]], False, False, False]
    assert members.holds(keys([])).tolist() == []


def test_a_key_that_is_a_prefix_or_ends_in_what_pads_is_another():
    members = MemberSet([["abc", "abcdef"]])
    assert members.holds(keys(["ab", "abc", "abcd", "abcdef", "abcdefg"])).tolist() == [False, True, False, True, False]


PROGRAM = """
import resource
from vfexport_core.rows.members import MemberSet
import pyarrow as pa

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
lists = ([f"{number:024x}" for number in range(start, start + 50_000)] for start in range(0, 2_000_000, 50_000))
members = MemberSet(lists)
asked = pa.array([f"{number:024x}" for number in range(1_999_000, 2_001_000)])
assert len(members) == 2_000_000
assert members.holds(asked).tolist() == [True] * 1_000 + [False] * 1_000
print(before, peak())
"""


def test_two_million_ids_are_a_few_times_their_text():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True, timeout=120)
    before, peak = map(int, done.stdout.split())
    text = 2_000_000 * 24 // 2**20
    assert peak - before < 4 * text, f"{before} MiB before, {peak} MiB at most"


def test_the_answer_is_one_boolean_per_key():
    assert MemberSet([["a"]]).holds(keys(["a", "b"])).dtype == np.bool_
