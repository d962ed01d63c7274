"""The cell rules for one BSON value, example by example."""

import uuid

import bson
import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from vfexport_core.mongo.client import SOUND_CODEC
from vfexport_core.rows.values import GUARDED, PRESENT, REPAIRED, render

OID = "65a1b2c3d4e5f60718293a4b"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", ""),
        ('Zoë, "x"\n', 'Zoë, "x"\n'),
        ("a\0b", "ab"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (Int64(2**62), "4611686018427387904"),
        (-0.0, "0"),
        (5.0, "5"),
        (1e22, "10000000000000000000000"),
        (0.1, "0.1"),
        (1e-07, "1e-07"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (DatetimeMS(1_782_864_000_999), "2026-07-01 00:00:00"),
        (DatetimeMS(-1), "1969-12-31 23:59:59"),
        (DatetimeMS(-62_135_596_800_000), "0001-01-01 00:00:00"),
        (DatetimeMS(-62_135_596_800_001), "-62135596800001"),
        (DatetimeMS(253_402_300_799_999), "9999-12-31 23:59:59"),
        (DatetimeMS(253_402_300_800_000), "253402300800000"),
        (ObjectId(OID), OID),
        (Decimal128("1.50"), "1.50"),
        (["a", None, 2.0, ["b", "c"], {"k": 1}], 'a;;2;b;c;{"k":1}'),
        ({"b": 1, "a": {"z": None, "y": [True, 1.5]}, "é": "ü"}, '{"a":{"y":[true,1.5],"z":null},"b":1,"é":"ü"}'),
        (
            {"d": DatetimeMS(0), "o": ObjectId(OID), "n": float("nan")},
            f'{{"d":"1970-01-01 00:00:00","n":"nan","o":"{OID}"}}',
        ),
        (Binary(b"abc", 0), "YWJj"),
        (Binary.from_uuid(uuid.UUID(int=1)), "00000000-0000-0000-0000-000000000001"),
        (Regex("^a", "im"), "/^a/im"),
        (Timestamp(1, 5), "1970-01-01 00:00:01"),
        (MinKey(), "MinKey"),
        (MaxKey(), "MaxKey"),
    ],
)
def test_a_value_is_written_by_the_rules(value, text):
    assert render(value)[0] == text


@pytest.mark.parametrize("value", ["x", ["x"], {"x": 1}])
def test_strings_arrays_and_documents_are_guarded(value):
    assert render(value)[1] & GUARDED


@pytest.mark.parametrize("value", [1, 1.5, True, DatetimeMS(0), Decimal128("-1"), ObjectId(OID)])
def test_numbers_booleans_and_dates_are_not_guarded(value):
    assert not render(value)[1] & GUARDED


@pytest.mark.parametrize(("value", "present"), [("", 0), (None, 0), ([], PRESENT), ("\0", PRESENT), ("x", PRESENT)])
def test_only_missing_null_and_empty_strings_are_blank(value, present):
    assert render(value)[1] & PRESENT == present


@pytest.mark.parametrize("raw", [b"\xff", b"a\xc3(b", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"ok \xe2\x82"])
def test_bytes_that_are_not_utf8_are_replaced_and_flagged(raw):
    filler = b"x" * len(raw)
    for wrap in (lambda x: x, lambda x: [x], lambda x: {"k": x}):
        document = bson.encode({"v": wrap(filler.decode())}).replace(filler, raw)
        text, flags = render(bson.decode(document, SOUND_CODEC)["v"])
        assert raw.decode("utf-8", "replace") in text
        assert flags & REPAIRED


def test_dbrefs_are_documents():
    value = bson.decode(bson.encode({"v": {"$ref": "users", "$id": 1}}), SOUND_CODEC)["v"]
    assert render(value)[0] == '{"$id":1,"$ref":"users"}'
