"""ObjectIds by the thousand: what numpy writes is what bson would have written."""

from __future__ import annotations

import re

import bson
import pyarrow as pa
import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from vfexport_core.sources.object_ids import object_ids, one_of

hexes = st.binary(min_size=12, max_size=12).map(bytes.hex)
nearly = st.text("0123456789abcdefABCDEFg/:@`\0é", min_size=22, max_size=25)
texts = st.lists(st.none() | hexes | hexes.map(str.upper) | nearly | st.text(max_size=3), max_size=12)


def expected(column: list[str | None]) -> list[ObjectId]:
    return [ObjectId(text) for text in column if text and re.fullmatch("[0-9a-f]{24}", text)]


def found(ids) -> list[ObjectId]:
    return [ObjectId(row.tobytes()) for row in ids]


@given(texts, st.integers(0, 3), st.integers(0, 3))
def test_only_24_digits_in_lower_case_are_an_id(column, cut, shorten):
    array = pa.array(column, pa.string())
    assert found(object_ids(array)) == expected(column)
    end = max(cut, len(column) - shorten)
    assert found(object_ids(array.slice(cut, end - cut))) == expected(column[cut:end]), "a slice has an offset"


@given(st.lists(hexes | st.text("0123456789abcdefABCDEFg", min_size=24, max_size=24), min_size=1), st.integers(0, 3))
def test_strings_that_are_all_as_long_as_an_id_are_read_alike(column, cut):
    array = pa.array(column, pa.string())
    assert found(object_ids(array)) == expected(column)
    assert found(object_ids(array.slice(cut))) == expected(column[cut:])


def test_the_bytes_below_a_null_are_not_read():
    text = "65a1b2c3d4e5f60718293a4b"
    whole = pa.array([text, text], pa.string())
    masked = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x02"), *whole.buffers()[1:]])
    assert masked.to_pylist() == [None, text]
    assert found(object_ids(masked)) == [ObjectId(text)]


@pytest.mark.parametrize("column", [pa.array([], pa.string()), pa.nulls(3, pa.string()), pa.array(["", None])])
def test_a_column_of_nothing_has_no_ids(column):
    assert object_ids(column).shape == (0, 12)


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 99, 100, 101, 999, 1_000, 1_001, 10_001])
def test_the_condition_is_as_bson_writes_it(count):
    column = [f"{number * 0x1234567:024x}" for number in range(count)]
    wanted = bson.encode({"$in": [ObjectId(text) for text in column]})
    condition = one_of(object_ids(pa.array(column, pa.string())))
    assert condition.raw == wanted
    assert bson.encode({"_id": condition}) == bson.encode({"_id": bson.decode(wanted)})
