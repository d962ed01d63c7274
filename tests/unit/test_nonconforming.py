"""Nonconforming documents taken apart: what is set aside, what is left, and where strict decoding stops."""

from __future__ import annotations

from itertools import accumulate, pairwise

import bson
import pyarrow as pa
import pytest
from bson import DatetimeMS, Int64, ObjectId
from bson.errors import InvalidBSON
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.arrow_decoder.fallback import FallbackDecoder, SchemaViolation
from tests.arrow_decoder.nonconforming import conforms, document_bounds, restore, separate
from tests.arrow_decoder.strict import Decoded, StrictSchema
from tests.unit.test_decode import clean, dirty, usual, values
from vfexport_core.catalog.collections import FieldType
from vfexport_core.mongo.client import SOUND_CODEC

TYPES = {f"c{number}": kind for number, kind in enumerate(FieldType) if kind is not FieldType.ANY}
LIST = next(name for name, kind in TYPES.items() if kind is FieldType.TEXT_LIST)
documents = st.lists(clean | dirty, min_size=1, max_size=12)


def encoded(documents: list[dict]) -> list[bytes]:
    return [bson.encode(document) for document in documents]


def is_nonconforming(document: bytes) -> bool:
    return bool(separate(document, TYPES)[1])


@given(documents)
def test_bounds_are_where_documents_begin_and_end(documents):
    raw = encoded(documents)
    assert document_bounds(b"".join(raw)) == list(accumulate(map(len, raw), initial=0))


@pytest.mark.parametrize("raw", [b"\0\0\0\0\0", b"\x04\0\0\0", b"\x06\0\0\0\0", b"\xff\xff\xff\xff\0", b"\x05"])
def test_lengths_that_cannot_be_are_refused(raw):
    with pytest.raises(InvalidBSON):
        document_bounds(bson.encode({"a": 1}) + raw)


@given(dirty)
def test_nothing_is_lost_between_the_usual_and_the_odd(document):
    raw = bson.encode(document)
    left, odd = separate(raw, TYPES)
    whole = bson.decode(raw, SOUND_CODEC)
    wanted = {name: value for name, value in whole.items() if name in TYPES and value is not None}
    assert repr(sorted({**bson.decode(left, SOUND_CODEC), **odd}.items())) == repr(sorted(wanted.items()))
    assert not is_nonconforming(left)


@given(st.sampled_from(list(TYPES.values())).flatmap(lambda kind: st.tuples(st.just(kind), values | usual[kind])))
def test_what_conforms_is_decoded_strictly_as_it_is(pair):
    kind, value = pair
    value = bson.decode(bson.encode({"c": value}), SOUND_CODEC)["c"]
    assume(value is not None and conforms(value, kind))
    strict = StrictSchema({"c": kind})
    decoded = strict.read(bson.encode({"c": value}))
    assert not decoded.stopped
    assert not strict.wrong_rows(decoded.arrays)
    array = decoded.arrays["c"]
    if kind is FieldType.DATE:  # Python's datetime ends with the year 9999
        array, value = array.cast(pa.int64()), int(value)
    assert array.to_pylist() == [value]


@given(documents)
def test_strict_decoding_stops_at_an_odd_document_with_all_before_it(documents):
    """What the pinned pymongoarrow leaves in its columns after an error, on which the mending of a batch is built."""
    raw = encoded(documents)
    strict = StrictSchema(TYPES)
    decoded = strict.read(b"".join(raw))
    alone = [strict.read(document).stopped for document in raw]
    assert decoded.stopped == any(alone)
    if decoded.stopped:
        assert alone.index(True) in (decoded.rows, decoded.rows + 1), "a schema with lists may give one document less"
    else:
        assert decoded.rows == len(raw)
    again = strict.read(b"".join(raw[: decoded.rows]))
    assert not again.stopped
    for name, array in again.arrays.items():
        assert decoded.arrays[name].equals(array)


@given(documents)
def test_without_lists_strict_decoding_stops_exactly_there(documents):
    strict = StrictSchema({name: kind for name, kind in TYPES.items() if name != LIST})
    raw = encoded(documents)
    alone = [strict.read(document).stopped for document in raw]
    assert strict.read(b"".join(raw)).rows == (alone.index(True) if any(alone) else len(raw))


@given(documents)
def test_whatever_strict_decoding_passes_wrong_is_suspected_or_found(documents):
    strict = StrictSchema(TYPES)
    for document in encoded(documents):
        decoded = strict.read(document)
        odd = separate(document, TYPES)[1]
        if LIST in odd and isinstance(odd[LIST], list):
            # In an array a null is decoded rightly, too.
            odd[LIST] = [item for item in odd[LIST] if item is not None]
        if not all(conforms(value, TYPES[name]) for name, value in odd.items()):
            assert decoded.stopped or strict.suspects(document) or strict.wrong_rows(decoded.arrays)


@given(documents)
def test_a_batch_is_mended_and_never_given_up(documents):
    raw = b"".join(encoded(documents))
    strict = StrictSchema(TYPES)
    fallback = FallbackDecoder(raw, strict)
    fallback.run(strict.suspects(raw), None)
    assert fallback.rows == len(documents)
    assert {len(array) for array in fallback.arrays().values()} == {len(documents)}


def test_a_stop_at_a_usual_document_is_not_trusted():
    raw = bson.encode({"c0": "x"}) * 5
    with pytest.raises(SchemaViolation):
        FallbackDecoder(raw, StrictSchema({"c0": FieldType.TEXT})).run(
            (), Decoded({"c0": pa.array(["x"])}, stopped=True)
        )


def test_an_end_before_the_last_document_is_not_trusted():
    raw = bson.encode({"c0": "x"}) * 5
    with pytest.raises(SchemaViolation):
        FallbackDecoder(raw, StrictSchema({"c0": FieldType.TEXT})).run(
            (), Decoded({"c0": pa.array(["x"])}, stopped=False)
        )


def test_a_wrong_row_of_a_usual_document_is_not_trusted():
    raw = bson.encode({"c0": "x"})
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff")]
    )
    with pytest.raises(SchemaViolation):
        FallbackDecoder(raw, StrictSchema({"c0": FieldType.TEXT})).run((), Decoded({"c0": bad}, stopped=False))


@given(st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=12), st.data())
def test_odd_values_are_put_back_in_their_rows(column, data):
    rows = data.draw(st.sets(st.integers(0, len(column) - 1)))
    odd = {row: f"odd {row}" for row in rows}
    chunks = restore(pa.array(column, pa.int64()), odd)
    flat = [value for chunk in chunks for value in (chunk if isinstance(chunk, list) else chunk.to_pylist())]
    assert flat == [odd.get(row, value) for row, value in enumerate(column)]
    kinds = [isinstance(chunk, list) for chunk in chunks]
    assert all(one != other for one, other in pairwise(kinds)), "neighbours stand together"
    assert all(len(chunk) for chunk in chunks)


def test_every_kind_but_any_has_a_rule():
    good = {
        FieldType.TEXT: "x",
        FieldType.DATE: DatetimeMS(1),
        FieldType.NUMBER: Int64(1),
        FieldType.BOOLEAN: True,
        FieldType.TEXT_LIST: ["x"],
        FieldType.OBJECT_ID: ObjectId(),
    }
    assert set(good) == set(TYPES.values())
    for kind in good:
        assert [other for other, value in good.items() if conforms(value, kind)] == [kind]


@given(st.binary(min_size=1, max_size=4), st.integers(0, 11))
def test_bytes_that_are_not_utf8_in_a_list_make_one_document_odd(junk, place):
    assume(junk.decode("utf-8", "replace") != junk.decode("utf-8", "ignore"))
    name, filler = "A0", b"\x01" * len(junk)
    raw = [bson.encode({name: ["a", f"{number}"]}) for number in range(12)]
    raw[place] = bson.encode({name: ["b", filler.decode()]}).replace(filler, junk)
    strict = StrictSchema({name: FieldType.TEXT_LIST})
    assert strict.wrong_rows(strict.read(b"".join(raw)).arrays) == {place}
