"""The oracle against examples worked out by hand from 03: cells, guard, quoting, warnings, `_id` order."""

from __future__ import annotations

import csv
import io
import re
import uuid
from datetime import UTC, datetime, timedelta, timezone

import bson
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument

from tests.builders import (
    DATE_KEY,
    make_campaign,
    make_code,
    make_entry,
    make_market,
    make_promoter,
    make_scoring,
    make_user,
    to_bson,
)
from tests.reference import Campaign, cell_text, export

OID = ObjectId("65a1b2c3d4e5f60718293a4b")
NAIVE = datetime(2024, 1, 2, 3, 4, 5, 999000)  # noqa: DTZ001 as pymongo decodes


def entries_cells(*, entry=None, campaign=None, user=None, market=None, **options):
    """Export one entry and give {header: cell} of its row."""
    bundle = Campaign(
        campaign or make_campaign(), [market or make_market()], [user or make_user(1)], [entry or make_entry(1)]
    )
    written = export(bundle, "entries", **options).files[""].decode()
    header, row = csv.reader(io.StringIO(written, newline=""), strict=True)
    return dict(zip(header, row, strict=True))


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        ("", ""),
        ("  kept as is  ", "  kept as is  "),
        ("a\0b\0", "ab"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-7, "-7"),
        (Int64(2**63 - 1), "9223372036854775807"),
        (5.0, "5"),
        (-0.0, "0"),
        (1e22, "10000000000000000000000"),
        (0.1, "0.1"),
        (-97.75, "-97.75"),
        (1e-07, "1e-07"),
        (5e-324, "5e-324"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (NAIVE, "2024-01-02 03:04:05"),
        (datetime(2024, 1, 2, 1, 0, tzinfo=timezone(timedelta(hours=2))), "2024-01-01 23:00:00"),
        (DatetimeMS(0), "1970-01-01 00:00:00"),
        (DatetimeMS(-1), "1969-12-31 23:59:59"),
        (DatetimeMS(-62_135_596_800_000), "0001-01-01 00:00:00"),
        (DatetimeMS(-62_135_596_800_001), "-62135596800001"),
        (DatetimeMS(253_402_300_799_999), "9999-12-31 23:59:59"),
        (DatetimeMS(253_402_300_800_000), "253402300800000"),
        (DatetimeMS(-(2**63)), "-9223372036854775808"),
        (OID, "65a1b2c3d4e5f60718293a4b"),
        (Decimal128("1.50"), "1.50"),
        (Decimal128("NaN"), "NaN"),
        (Decimal128("-Infinity"), "-Infinity"),
        (Decimal128("1E+3"), "1E+3"),
        (Timestamp(60, 5), "1970-01-01 00:01:00"),
        (uuid.UUID("12345678-1234-5678-1234-567812345678"), "12345678-1234-5678-1234-567812345678"),
        (Binary(bytes(range(16)), 4), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (Binary(bytes(range(16)), 3), "AAECAwQFBgcICQoLDA0ODw=="),
        (Binary(b"\x01", 4), "AQ=="),
        (b"\xff\xfe", "//4="),
        (Regex("^a/b$", re.IGNORECASE | re.MULTILINE), "/^a/b$/im"),
        (Regex("x", "xsmi"), "/x/imsx"),
        (MinKey(), "MinKey"),
        (MaxKey(), "MaxKey"),
        (Code("f()"), "f()"),
        (Code("f()", {"a": 1}), "f()"),
    ],
)
def test_a_scalar_becomes_its_text(value, cell):
    assert cell_text(value) == cell


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ([], ""),
        (["a", None, 1, 2.0, True, OID], "a;;1;2;true;65a1b2c3d4e5f60718293a4b"),
        (["a\0b"], "ab"),
        ([["a", "b"], [], ["c", ["d"]]], "a;b;;c;d"),
        ([{"b": 1, "a": [1, 2]}, "x"], '{"a":[1,2],"b":1};x'),
        ({}, "{}"),
        ({"b": 1, "a": None}, '{"a":null,"b":1}'),
        ({"B": 1, "a": 2, "_": 3, "é": 4, "😀": 5, "\uffee": 6}, '{"B":1,"_":3,"a":2,"é":4,"\uffee":6,"😀":5}'),
        ({"x": [1, [2, {"z": True, "y": "é"}]]}, '{"x":[1,[2,{"y":"é","z":true}]]}'),
        ({"a": 5.0, "b": 1e22, "c": -0.0}, '{"a":5.0,"b":1e+22,"c":-0.0}'),
        ({"a": float("nan"), "b": float("-inf")}, '{"a":"nan","b":"-inf"}'),
        ({"a": Int64(2**63 - 1)}, '{"a":9223372036854775807}'),
        ({"when": NAIVE, "id": OID}, '{"id":"65a1b2c3d4e5f60718293a4b","when":"2024-01-02 03:04:05"}'),
        ({"d": Decimal128("1.0"), "u": Binary(bytes(16), 4)}, '{"d":"1.0","u":"00000000-0000-0000-0000-000000000000"}'),
        ({"k": MinKey(), "r": Regex("a", "i"), "c": Code("f()")}, '{"c":"f()","k":"MinKey","r":"/a/i"}'),
        ({"s": 'q"\\/\0\n\x7f'}, '{"s":"q\\"\\\\/\\u0000\\n\x7f"}'),
        ({"": 1, "a.b": 2, "$c": 3}, '{"":1,"$c":3,"a.b":2}'),
        (DBRef("c", OID, "db", x=1), '{"$db":"db","$id":"65a1b2c3d4e5f60718293a4b","$ref":"c","x":1}'),
    ],
)
def test_arrays_and_documents_become_text(value, cell):
    assert cell_text(value) == cell
    assert cell_text(bson.decode(bson.encode({"v": value}))["v"]) == cell, "also as BSON gives it back"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@home", "'@home"),
        ("-x", "'-x"),
        ("+x", "'+x"),
        ("\tx", "'\tx"),
        ("\0=1", "'=1"),
        (["=a", "b"], "'=a;b"),
        (Code("=f()"), "'=f()"),
        ("+1 (512) 555-0100", "+1 (512) 555-0100"),
        ("-5.5", "-5.5"),
        ("+5.5.5", "+5.5.5"),
        ("+", "'+"),
        ("-", "'-"),
        ("+1x", "'+1x"),
        ("-1e5", "'-1e5"),
        ("+٣", "'+٣"),
        ("--5", "'--5"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20a", "'\uff20a"),
        ("x;=1", "x;'=1"),
        ("x;=1;@a;-5;-5x", "x;'=1;'@a;-5;'-5x"),
        ("x;\uff1d1", "x;'\uff1d1"),
        ("=1;=2", "'=1;'=2"),
        ("x\t=1", "x\t'=1"),
        ("\t=1", "'\t'=1"),
        ("x; =1", "x; =1"),
        ("x,=1", "x,=1"),
        ("x|=1", "x|=1"),
        ("\u00a0=1", "\u00a0=1"),
        ("\ufeff=1", "\ufeff=1"),
        (["a", "=1", "-1"], "a;'=1;-1"),
        (["-1", "2"], "'-1;2"),
        (["-1"], "-1"),
        ("a=1", "a=1"),
        (" =1", " =1"),
        ("'=1", "'=1"),
        (-5, "-5"),
        (-5.5, "-5.5"),
        (float("-inf"), "-inf"),
        (Decimal128("-Infinity"), "-Infinity"),
        (Decimal128("-1"), "-1"),
        (DatetimeMS(-(2**63)), "-9223372036854775808"),
        (Binary(b"\xfb\xff", 0), "+/8="),
        ({"=a": 1}, '{"=a":1}'),
    ],
)
def test_the_formula_guard_marks_only_what_a_spreadsheet_would_run(value, cell):
    assert entries_cells(entry=make_entry(1, locale=value))["locale"] == cell


def test_the_guard_looks_at_the_whole_cell_and_at_its_end():
    bundle = Campaign(make_campaign(), [make_market()], [make_user(1)], [make_entry(1, locale="+1\n")])
    assert b',"\'+1\n",' in export(bundle, "entries").files[""]
    assert b',"+1\n",' in export(bundle, "entries", formula_guard=False).files[""]


def test_machine_feeds_are_never_guarded():
    user = make_user(1, ticketmaster={"name": {"first": "=1"}})
    bundle = Campaign(
        make_campaign(),
        [make_market()],
        [user],
        [make_entry(1)],
        [make_scoring(1)],
        [make_code("C", 1)],
        [],
        [make_promoter()],
    )
    people = ("entries", "codeAssignments")
    machines = ("scoring", "verifiedEntries", "codeWaves", "reminderEmail", "reminderEmailSample", "autoReminderEmail")
    for export_type in (*people, *machines):
        written = b"".join(export(bundle, export_type, date_key=DATE_KEY).files.values())
        assert (b",'=1," in written, b",=1," in written) == (export_type in people, export_type in machines), (
            export_type
        )


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("a,b", b'"a,b"'),
        ('say "hi"', b'"say ""hi"""'),
        ("two\nlines", b'"two\nlines"'),
        ("\rx", b'"\'\rx"'),
        ("a\rb", b'"a\rb"'),
        (" a ", b" a "),
        ("a;b\t'c'\u2028", b"a;b\t'c'\xe2\x80\xa8"),
        ("\ufeffx", b"\xef\xbb\xbfx"),
    ],
)
def test_a_cell_is_quoted_only_when_it_must_be(value, cell):
    bundle = Campaign(make_campaign(), [make_market()], [make_user(1)], [make_entry(1, locale=value)])
    line = b"\n".join(export(bundle, "entries").files[""].split(b"\n")[1:])
    assert b'EV1,EV2",' + cell + b",000000000000000000000001,2024-01-02 03:05:00," in line


def test_invalid_utf8_becomes_the_replacement_character_and_is_counted_per_written_cell():
    entry = make_entry(
        1,
        locale="a\udcffb\udcc3\udca9\ufffd",  # \xff is wrong, \xc3\xa9 together are é, U+FFFD was there before
        fields={"color": {"k": ["\udced\udca0\udc80", "\udce2\udc82"], "ok": "\ufffd"}, "email": "x\udcff"},
        date={"phoneConfirmed": ["\udcc3\0\udca9", "\ufffd"]},
    )
    user = make_user(
        1, ticketmaster={"email": "never used \udcff", "phone": "neither \udcff", "name": {"first": "\ufffd"}}
    )
    raw = to_bson(entry)
    with pytest.raises(bson.errors.InvalidBSON):
        bson.decode(raw)
    for form in (entry, raw, RawBSONDocument(raw)):
        bundle = Campaign(make_campaign(), [make_market()], [to_bson(user)], [form])
        written = export(bundle, "entries")
        text = written.files[""].decode()
        assert ",a\ufffdbé\ufffd," in text
        assert ',"{""k"":[""\ufffd\ufffd\ufffd"",""\ufffd""],""ok"":""\ufffd""}"\n' in text, (
            "three bytes, then one cut short"
        )
        assert ",\ufffd\ufffd;\ufffd," in text, "bytes are replaced before U+0000 is removed"
        assert written.warnings == {"invalidUtf8": 4}
        assert export(bundle, "scoring").warnings == {"invalidUtf8": 3}, "no preferences there"


def test_a_composed_cell_with_replaced_bytes_counts_once():
    market = to_bson(make_market(1, city="\udcff", state="\udcff"))
    bundle = Campaign(make_campaign(), [market], [make_user(1)], [make_entry(1), make_entry(2)])
    written = export(bundle, "entries")
    assert written.files[""].decode().count('"7/04 - \ufffd, \ufffd"') == 2
    assert written.warnings == {"invalidUtf8": 2, "unknownUser": 1}


def test_utc_is_meant_whatever_form_a_date_has():
    aware = datetime(2024, 7, 4, tzinfo=UTC)
    forms = (aware, aware.replace(tzinfo=None), DatetimeMS(1_720_051_200_000))
    assert {cell_text(form) for form in forms} == {"2024-07-04 00:00:00"}
