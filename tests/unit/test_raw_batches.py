"""Replies whose batch stays bytes: whatever else a server says is read as the driver reads it."""

from __future__ import annotations

import struct

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.errors import InvalidBSON
from hypothesis import example, given
from hypothesis import strategies as st

from vfexport_core.sources.raw_batches import REPLY_CODEC, Reply, documents_of_array, strip_keys

scalars = st.one_of(
    st.none(),
    st.text(max_size=6),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(allow_nan=False),
    st.binary(max_size=5),
    st.binary(max_size=5).map(lambda data: Binary(data, 128)),
    st.datetimes().map(lambda moment: moment.replace(microsecond=0)),
    st.sampled_from(
        [
            ObjectId("65a1b2c3d4e5f60718293a4b"),
            Decimal128("1.5"),
            Regex("a", "im"),
            MinKey(),
            MaxKey(),
            Timestamp(7, 2),
            Code("f()"),
            Code("f()", {"x": 1}),
            DBRef("c", 1),
        ]
    ),
)
keys = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=4)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
documents = st.dictionaries(keys, values, max_size=3)
rest = st.dictionaries(keys.filter(lambda key: key not in ("cursor", "firstBatch", "nextBatch")), values, max_size=4)


def decoded(raw: bytes) -> Reply:
    (reply,) = bson.decode_all(raw, REPLY_CODEC)
    return reply


def mixed(fields: dict, more: dict, place: int) -> dict:
    """Put `more` in front of the place-th of `fields`."""
    items = list(fields.items())
    return dict([*items[:place], *more.items(), *items[place:]])


def joined(batch):
    """Return documents as they stand in another one: by itself each would have its ``_id`` first."""
    return b"".join(bson.encode({"d": document})[7:-1] for document in batch)


@given(st.lists(documents, max_size=12), rest, rest, st.sampled_from(["firstBatch", "nextBatch"]), st.data())
def test_the_batch_is_bytes_and_the_rest_is_as_ever(batch, of_cursor, of_reply, name, data):
    cursor = mixed(of_cursor, {name: batch}, data.draw(st.integers(0, len(of_cursor))))
    raw = bson.encode(mixed(of_reply, {"cursor": cursor}, data.draw(st.integers(0, len(of_reply)))))
    reply, plain = decoded(raw), bson.decode(raw)
    found = reply["cursor"][name]
    assert b"".join(found) == joined(batch)
    assert len(found) == bool(batch)
    assert {**reply["cursor"], name: plain["cursor"][name]} == plain["cursor"]
    assert {**reply, "cursor": plain["cursor"]} == plain
    assert reply.raw == raw
    assert set(reply) == set(plain)
    assert dict(reply.items()) == dict(reply)
    assert len(reply) == len(plain)


@given(rest)
@example({"ok": 0.0, "errmsg": "no", "code": 11600, "errorLabels": ["x"]})
@example({"cursor": "x", "ok": 1.0})
@example({"cursor": {"id": 1, "firstBatch": 7}, "ok": 1.0})
def test_a_reply_without_a_batch_is_read_whole(fields):
    assert dict(decoded(bson.encode(fields))) == bson.decode(bson.encode(fields))


def test_the_documents_of_a_batch_are_never_decoded():
    junk = struct.pack("<i", 9) + b"\x02\xff\xff\xff\0"  # no BSON at all, but for its length
    array = struct.pack("<i", 4 + 3 + 9 + 1) + b"\x030\0" + junk + b"\0"
    placeholder = bson.encode({"a": []})[4 + 3 : -1]
    assert len(placeholder) == 5
    cursor = bson.encode({"id": 5, "firstBatch": []})
    cursor = cursor.replace(b"firstBatch\0" + placeholder, b"firstBatch\0" + array)
    cursor = struct.pack("<i", len(cursor)) + cursor[4:]
    raw = b"\x03cursor\0" + cursor + b"\0"
    reply = decoded(struct.pack("<i", len(raw) + 4) + raw)
    assert reply["cursor"] == {"id": 5, "firstBatch": [junk]}


@given(st.lists(documents, max_size=120))
def test_the_drivers_own_way_to_strip_keys_is_there_and_does_the_same(batch):
    """If this fails after an upgrade of pymongo: exports are right still, but up to a tenth slower."""
    assert documents_of_array is not strip_keys
    array = memoryview(bson.encode({"a": batch}))[7:-1]
    wanted = joined(batch)
    assert strip_keys(array) == wanted
    assert documents_of_array(array) == wanted


@pytest.mark.parametrize(
    "array",
    [
        bson.encode({"0": {}, "1": 5}),
        bson.encode({"0": {}})[:-2] + b"\0",
        bson.encode({"0": {"a": 1}}).replace(b"\x0c\0\0\0", b"\x0d\0\0\0"),
    ],
    ids=["no document", "cut", "too long"],
)
def test_a_batch_of_something_else_is_refused(array):
    with pytest.raises(InvalidBSON):
        strip_keys(memoryview(array))


@given(st.integers(0, 255), st.binary(max_size=12))
def test_what_is_no_bson_is_refused_and_never_read_beyond_its_end(kind, value):
    raw = b"\0" * 4 + bytes([kind]) + b"a\0" + value + b"\0"
    raw = struct.pack("<i", len(raw)) + raw[4:]
    try:
        wanted = bson.decode(raw)
    except (InvalidBSON, UnicodeDecodeError):
        with pytest.raises(InvalidBSON):
            decoded(raw)
    else:
        assert repr(dict(decoded(raw))) == repr(wanted)
