"""BSON values of every type, as dirty as a collection can hold them.

Strategies are cached: making and validating one costs hypothesis more than drawing from it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import strategies as st

INT64 = 2**63


@dataclass(frozen=True)
class Dirt:
    """How dirty a generated campaign may be; each flag leaves out what a test's server or layer cannot hold.

    `invalid_utf8`: strings with bytes that are not UTF-8 (the embedded MongoDB refuses to insert them).
    `array_paths`: arrays where 02 has an embedded document (the embedded MongoDB's ``$project`` does not look into
    them as MongoDB does).
    `far_dates`: dates beyond the years 1-9999 (the embedded MongoDB refuses some documents that hold them).
    `odd_user_ids`: entries whose ``_id.user_id`` is another scalar than a string.
    `case_variants`: a user's id in another case or as an ObjectId, also beside an entry with the usual form.
    """

    invalid_utf8: bool = True
    array_paths: bool = False
    far_dates: bool = True
    odd_user_ids: bool = True
    case_variants: bool = True


NASTY_TEXTS = [
    "",
    " ",
    "a,b",
    'say "hi"',
    '"',
    "two\nlines",
    "\r\n",
    "\r",
    "\tTab",
    "\0",
    "a\0b",
    "\0=1",
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1 (512) 555-0100",
    "+1x",
    "+1\n",
    "-",
    "-5.5",
    "--5",
    "@home",
    "'quoted",
    "+٣",
    "null",
    "NaN",
    "true",
    "0012",
    "1e5",
    "é",
    "e\u0301",
    "Zoë 😀 Čapek",
    "日本語",
    "שלום",
    "\u2028\u0085\x1c",
    "\ufeff",
    "\ufffd",
    "\uffff\U0010ffff",
    "\x01\x7f\x1b[31m",
    "%s {0} $a.b \\N",
    "a;b",
    "../../etc/passwd",
]
LONG_TEXTS = ["x" * 5000, 'é,"\n' * 1500]
INVALID_BYTES = [
    b"\xff",
    b"a\xffb",
    b"\xc3",
    b"\xc3\0\xa9",
    b"\xe2\x82",
    b"\xe2\x82,",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\xc0\xaf",
    b"=\xff",
    b"\xff" * 40,
    b'"\xfe\n',
]
DOUBLES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    -97.75,
    1e15,
    1e16,
    123456789012345678.0,
    1e22,
    1e23,
    -1e300,
    1e-07,
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    float("nan"),
    struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000001))[0],  # a NaN with sign and payload
    float("inf"),
    float("-inf"),
]
DECIMALS = ["0", "-0", "1.50", "-7", "1E+3", "0E-10", "1E-6176", "9.99E+6144", "NaN", "Infinity", "-Infinity"]
SPECIALS: list[Any] = [
    ObjectId("65a1b2c3d4e5f60718293a4b"),
    Binary(bytes(range(16)), 4),
    Binary(bytes(16), 3),
    Binary(b"\xfb\xff\xfe", 0),
    Binary(b"", 0),
    Binary(b"\x01", 4),
    Binary(b"md5", 5),
    Binary(b"own", 128),
    Regex('^a/,"b$', "imsx"),
    Regex("", 0),
    Timestamp(0, 1),
    Timestamp(2**32 - 1, 2**32 - 1),
    MinKey(),
    MaxKey(),
    Code('=f("x")\n'),
    Code("f(x)", {"x": 1}),
    DBRef("users", ObjectId("65a1b2c3d4e5f60718293a4b")),
]
KEYS = ["a", "b", "A", "é", "😀", "\uffee", "", "a.b", "$x", " ", 'q"', "\n", "0", "_id", "id", "name"]


@cache
def texts(dirt: Dirt) -> st.SearchStrategy[str]:
    """Strings; bytes that are not UTF-8 are lone surrogates, as surrogateescape gives them."""
    unicode = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    valid = st.sampled_from(NASTY_TEXTS) | unicode | st.sampled_from(LONG_TEXTS)
    if not dirt.invalid_utf8:
        return valid
    raw = st.sampled_from(INVALID_BYTES) | st.binary(max_size=6)
    return valid | raw.map(lambda content: content.decode("utf-8", "surrogateescape"))


@cache
def numbers() -> st.SearchStrategy[Any]:
    whole = st.integers(-INT64, INT64 - 1) | st.integers(-20, 20) | st.sampled_from([2**31, -(2**31) - 1, 2**53 + 1])
    return st.one_of(
        whole,
        st.integers(-20, 20).map(Int64),
        st.sampled_from(DOUBLES) | st.floats(),
        st.sampled_from(DECIMALS).map(Decimal128),
        st.booleans(),
    )


@cache
def dates(dirt: Dirt) -> st.SearchStrategy[DatetimeMS]:
    edges = [-62_135_596_800_000, 253_402_300_799_999, -1, 0, 999, -999, -1000, -1001]
    far = [-INT64, INT64 - 1, -62_135_596_800_001, 253_402_300_800_000] if dirt.far_dates else []
    widest = 260_000_000_000_000 if dirt.far_dates else 250_000_000_000_000
    return st.one_of(
        st.integers(1_500_000_000_000, 1_900_000_000_000),
        st.integers(-70_000_000_000_000 if dirt.far_dates else -60_000_000_000_000, widest),
        st.sampled_from([*edges, *far]),
    ).map(DatetimeMS)


@cache
def scalars(dirt: Dirt) -> st.SearchStrategy[Any]:
    return st.one_of(texts(dirt), numbers(), dates(dirt), st.sampled_from(SPECIALS), st.none())


def _nest(value: Any, shape: list[bool]) -> Any:
    for is_array in shape:
        value = [value] if is_array else {"k": value}
    return value


@cache
def documents(dirt: Dirt) -> st.SearchStrategy[dict[str, Any]]:
    # An account's "name" that is an array would be a path through one.
    keys = KEYS if dirt.array_paths else [key for key in KEYS if key != "name"]
    return st.dictionaries(st.sampled_from(keys), scalars(dirt) | st.lists(scalars(dirt), max_size=2), max_size=4)


@cache
def arrays(dirt: Dirt) -> st.SearchStrategy[list[Any]]:
    element = scalars(dirt) | documents(dirt)
    return st.lists(element | st.lists(element, max_size=2), max_size=4)


@cache
def not_arrays(dirt: Dirt) -> st.SearchStrategy[Any]:
    """Any value but an array; some documents go 40 levels deep."""
    deep = st.builds(_nest, scalars(dirt), st.lists(st.booleans(), min_size=1, max_size=40).map(lambda s: [*s, False]))
    return scalars(dirt) | documents(dirt) | deep


@cache
def anything(dirt: Dirt) -> st.SearchStrategy[Any]:
    return not_arrays(dirt) | arrays(dirt)
