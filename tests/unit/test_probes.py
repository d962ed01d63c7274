"""The probes: whatever strict decoding would pass wrong in silence is among what they suspect."""

from __future__ import annotations

import math
import struct
from itertools import accumulate, pairwise

import bson
import pytest
from bson import Int64
from hypothesis import example, given
from hypothesis import strategies as st

from tests.arrow_decoder.probes import booleans, nans, non_lists

NAMES = ["c0", "c1", "c10", "c11"]
MASKS = (0x7FF0000000000000, 0xFFF0000000000000)

any_nan = st.tuples(st.sampled_from(MASKS), st.integers(1, 2**52 - 1)).map(
    lambda parts: struct.unpack("<d", struct.pack("<Q", parts[0] | parts[1]))[0]
)
values = st.recursive(
    st.none()
    | st.text(max_size=4)
    | st.booleans()
    | st.floats()
    | any_nan
    | st.integers(-(2**63), 2**63 - 1).map(Int64)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["c0", "x"]), inner, max_size=2),
    max_leaves=4,
)
documents = st.dictionaries(st.sampled_from([*NAMES, "r"]), values, max_size=5)


def is_nan(value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def documents_at(raw: list[bytes], places: list[int]) -> set[int]:
    bounds = list(pairwise(accumulate(map(len, raw), initial=0)))
    assert places == sorted(places)
    return {number for number, (start, end) in enumerate(bounds) for place in places if start <= place < end}


@given(st.lists(documents, max_size=6), st.sets(st.sampled_from(NAMES), min_size=1))
@example([{"c0": float("nan")}, {"c10": -float("nan")}, {"c1": [1.0, float("nan")]}], {"c0", "c1", "c10"})
def test_nothing_is_passed_over(documents, names):
    raw = [bson.encode(document) for document in documents]
    whole = b"".join(raw)
    found = {
        "nan": documents_at(raw, nans(whole, sorted(names))),
        "boolean": documents_at(raw, booleans(whole, sorted(names))),
        "no list": documents_at(raw, non_lists(whole, sorted(names))),
    }
    for number, document in enumerate(documents):
        for value in (document.get(name) for name in names):
            flat = value if isinstance(value, list) else [value]
            assert number in found["nan"] or not any(map(is_nan, flat))
            assert number in found["boolean"] or not isinstance(value, bool)
            assert number in found["no list"] or value is None or isinstance(value, list)


@pytest.mark.parametrize("probe", [nans, booleans, non_lists])
def test_usual_documents_are_not_suspected(probe):
    usual = {"c0": ["text", "c1."], "c1": None, "c10": [], "c11": ["\x08c1."], "r": {"user_id": "x"}, "other": True}
    assert probe(bson.encode(usual) * 3, NAMES) == []


@pytest.mark.parametrize("probe", [nans, booleans, non_lists])
def test_an_empty_batch_has_nothing(probe):
    assert probe(b"", NAMES) == []
    assert probe(bson.encode({"c0": 1.0, "r": True}), []) == []


@pytest.mark.parametrize(
    ("probe", "value"), [(nans, float("nan")), (booleans, True), (non_lists, 7), (non_lists, {"a": 1})]
)
def test_the_place_is_within_the_document(probe, value):
    clean, odd = bson.encode({"c0": ["x"]}), bson.encode({"c0": value})
    (place,) = probe(clean * 5 + odd + clean * 5, NAMES)
    assert len(clean) * 5 <= place < len(clean) * 5 + len(odd)
