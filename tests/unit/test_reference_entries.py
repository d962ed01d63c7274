"""The oracle against hand-made files: entries and scoring, their look-ups, markets and preferences."""

from __future__ import annotations

import itertools

import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, MaxKey, MinKey, Regex, Timestamp

from tests.builders import ABSENT, hex_id, make_campaign, make_entry, make_market, make_user, object_id
from tests.reference import export, order_key
from tests.unit.reference_helpers import C1, ENTRIES_HEADER, M1, M2, M3, U1, U2, U3, bundle, column, csv_lines


def test_entries():
    campaign = bundle(entries=[make_entry(1, fields={"color": ABSENT}), make_entry(2)])
    when = "Summer Tour,2024-01-02 03:04:05"
    show = f'"7/04 - Austin, TX","EV1,EV2",en-us,{C1},2024-01-02 03:05:00'
    assert csv_lines(campaign, "entries") == [
        ENTRIES_HEADER + ",#text.color",
        f"{U1},{when},tm1,g1,192.0.2.1,fan1@example.com,First1,Last1,78702,5125550001,m1,{show},false",
        f"{U2},{when},,,192.0.2.1,fan2@example.com,Fan2,Family2,78702,5125550002,,{show},blue",
    ]
    written = export(campaign, "entries")
    assert (written.rows, written.warnings, written.skipped) == (2, {"unknownUser": 1}, {})


def test_entries_and_users_stand_in_for_each_other():
    missing = {"email": ABSENT, "phone": None, "first_name": "unused", "last_name": "unused"}
    cases = [
        ("email", {"fields": missing}, {}, "user1@example.com"),
        ("email", {"fields": {"email": ""}}, {}, "user1@example.com"),
        ("email", {"fields": {"email": "\0"}}, {}, ""),
        ("email", {"fields": {"email": []}}, {}, ""),
        ("email", {"fields": {"email": 0}}, {}, "0"),
        ("email", {"fields": {"email": False}}, {}, "false"),
        ("Mobile Phone", {"fields": missing}, {}, "+15125550001"),
        ("Zip Code", {"origin": {"ip": {"postalCode": None}}}, {}, "78701"),
        ("Zip Code", {"origin": {"ip": {"postalCode": 78702.0}}}, {}, "78702"),
        ("first_name", {}, {"name": {"first": ""}}, "Fan1"),
        ("last_name", {}, {"name": None}, "Family1"),
        ("last_name", {"fields": {"last_name": ABSENT}}, {"name": ABSENT}, ""),
    ]
    for name, entry, ticketmaster, cell in cases:
        campaign = bundle(entries=[make_entry(1, **entry)], users=[make_user(1, ticketmaster=ticketmaster)])
        assert column(campaign, name) == [cell], (name, entry, ticketmaster)


@pytest.mark.parametrize(
    ("event", "place", "cell"),
    [
        ({}, {}, '"7/04 - Austin, TX"'),
        ({"date": DatetimeMS(1_704_067_199_999)}, {}, '"12/31 - Austin, TX"'),
        ({"date": DatetimeMS(-1)}, {}, '"12/31 - Austin, TX"'),
        ({"date": ABSENT}, {}, '"Austin, TX"'),
        ({"date": ""}, {}, '"Austin, TX"'),
        ({}, {"city": None}, "7/04 - TX"),
        ({}, {"state": ABSENT}, "7/04 - Austin"),
        ({}, {"city": "", "state": ""}, "7/04"),
        ({"date": None}, {"city": ABSENT}, "TX"),
        ({"date": None}, {"city": ABSENT, "state": ABSENT}, ""),
        ({"date": "2024-07-04"}, {}, '"2024-07-04 - Austin, TX"'),
        ({"date": "soon"}, {"city": None, "state": None}, "soon"),
        ({"date": 20240704}, {"city": "X"}, '"20240704 - X, TX"'),
        ({"date": Timestamp(0, 1)}, {}, '"1970-01-01 00:00:00 - Austin, TX"'),
        ({"date": DatetimeMS(253_402_300_800_000)}, {}, '"253402300800000 - Austin, TX"'),
        ({"date": DatetimeMS(-62_135_596_800_000)}, {}, '"1/01 - Austin, TX"'),
        ({"date": ABSENT}, {"city": "=1"}, '"\'=1, TX"'),
        ({"date": ABSENT}, {"city": 5, "state": ["a", "b"]}, '"5, a;b"'),
        ({"date": ABSENT}, {"city": -5, "state": ABSENT}, "-5"),
    ],
)
def test_select_show(event, place, cell):
    written = export(bundle(markets=[make_market(1, event=event, **place)]), "entries").files[""].decode()
    assert f',m1,{cell},"EV1,EV2",en-us,' in written


@pytest.mark.parametrize(
    ("ids", "cell"),
    [
        ([], ""),
        (["one"], "one"),
        (["a", None, 5.0, ["x", "y"], {"k": 1}], '"a,,5,x;y,{""k"":1}"'),
        ("EV9", "EV9"),
        (5.0, "5"),
        (None, ""),
        (["=1", "2"], '"\'=1,2"'),
        (["-1", "2"], '"\'-1,2"'),
        (-1, "-1"),
        ({"b": 1}, '"{""b"":1}"'),
    ],
)
def test_event_ids(ids, cell):
    written = export(bundle(markets=[make_market(1, event={"ids": ids})]), "entries").files[""].decode()
    assert f'TX",{cell},en-us,' in written


def test_preference_columns():
    preferences = [
        {"id": "size", "type": "select"},
        {"id": "a.b", "type": "text"},
        {"id": "$x", "type": "=q,r"},
        {"id": "", "type": "text"},
        {"id": "size", "type": "again"},
        {"id": 5},
        {"type": "none"},
        "not a document",
        {"id": "market", "type": "text"},
    ]
    answers = {"size": ["S", "M"], "a.b": 1.5, "a": {"b": "no"}, "$x": "", "": "blank key", "5": None, "null": 1}
    header, row = csv_lines(
        bundle(campaign=make_campaign(preferences=preferences), entries=[make_entry(1, fields=answers)]), "entries"
    )
    assert header == ENTRIES_HEADER + ',#select.size,#text.a.b,"#=q,r.$x",#text.,#again.size,#.5,#none.,#text.market'
    assert row.endswith(f",2024-01-02 03:05:00,S;M,1.5,,blank key,S;M,false,false,{M1}")
    for none in (ABSENT, None, []):
        assert csv_lines(bundle(campaign=make_campaign(preferences=none)), "entries")[0] == ENTRIES_HEADER
    one = make_campaign()
    one["preferences"] = {"id": "color", "type": "text"}
    assert csv_lines(bundle(campaign=one), "entries")[0] == ENTRIES_HEADER + ",#text.color"


def test_include_all_markets():
    markets = [make_market(number, city=f"City{number}") for number in (1, 2, 3)]
    more = [M3, "unknown", M1, M3, None, object_id(2), M2, 7]
    campaign = bundle(
        markets=[*markets, make_market(4, campaign=2)],
        entries=[
            make_entry(1, fields={"additionalMarkets": [*more, hex_id(4)]}),
            make_entry(2, fields={"market": ABSENT, "additionalMarkets": M2}),
            make_entry(3, fields={"market": "gone", "additionalMarkets": ["gone", M1.upper()]}),
        ],
    )
    cities = {"1": '"7/04 - City1, TX"', "2": '"7/04 - City2, TX"', "3": '"7/04 - City3, TX"', "": ""}
    rows = csv_lines(campaign, "entries", include_all_markets=True)[1:]
    expected = [(U1, "1"), (U1, "3"), (U1, "2"), (U2, ""), (U2, "2"), (U3, ""), (U3, "1")]
    assert len(rows) == len(expected)
    for row, (user, city) in zip(rows, expected, strict=True):
        assert row.startswith(user + ",")
        assert f",{cities[city]},{'' if city == '' else chr(34) + 'EV1,EV2' + chr(34)},en-us," in row
    written = export(campaign, "entries", include_all_markets=True)
    assert (written.rows, written.warnings) == (7, {"unknownUser": 2, "unknownMarket": 1}), "counted per entry"
    assert export(campaign, "scoring", include_all_markets=True).rows == 3


@pytest.mark.parametrize(
    ("market", "unknown"),
    [(ABSENT, 0), (None, 0), ("", 0), (hex_id(9), 1), ([], 1), ("\0", 1), (object_id(1), 0), (5, 1), ([M1], 0)],
)
def test_a_named_market_that_does_not_exist_is_counted(market, unknown):
    written = export(bundle(entries=[make_entry(1, fields={"market": market})]), "entries")
    assert written.warnings.get("unknownMarket", 0) == unknown


def test_ids_are_compared_as_text_and_hex_in_any_case():
    market, user = make_market(0xABC, city="Found"), make_user(0xDEF)
    entries = [
        make_entry(1, _id={"user_id": hex_id(0xDEF).upper()}, fields={"market": object_id(0xABC)}),
        make_entry(1, _id={"user_id": object_id(0xDEF)}, fields={"market": hex_id(0xABC).upper()}),
        make_entry(1, _id={"user_id": "ABC"}, fields={"market": "ABC"}),
    ]
    lists = {
        "markets": [market, make_market(5, _id="abc")],
        "users": [user, make_user(6, _id="abc")],
        "entries": entries,
    }
    assert column(bundle(**lists), "tm_id") == [f"tm{0xDEF}", "", f"tm{0xDEF}"]
    assert export(bundle(**lists), "entries").warnings == {"unknownUser": 1, "unknownMarket": 1}


def test_scoring():
    header, row = csv_lines(bundle(), "scoring")
    assert header == ENTRIES_HEADER + ",nudata_score,nudata_score_band,fanscore,latitude,longitude"
    assert row.endswith(",2024-01-02 03:05:00,12.5,LOW,0.75,30.25,-97.75")
    bare = make_entry(
        1, nudetect=ABSENT, accountFanscore=Decimal128("0.10"), origin={"ip": {"latitude": -30.0, "longitude": "-9"}}
    )
    assert csv_lines(bundle(entries=[bare]), "scoring")[1].endswith(",,,0.10,-30,-9")


def test_ids_are_ordered_as_mongodb_orders_them():
    ascending = [
        MinKey(), None, float("nan"), float("-inf"), -(2**63), -1, 0, Decimal128("0.5"), 5, 5.5, Decimal128("6"),
        float("inf"), "", "\0", "=", "A", "AB", "a", "é", "\U0001f600", {}, {"b": 1}, {"b": 2}, {"b": 2, "a": 1},
        {"a": "x"}, [1], Binary(b"z"), Binary(b"ab", 0), Binary(b"ab", 5), object_id(1), object_id(2), False, True,
        DatetimeMS(-1), DatetimeMS(0), Timestamp(1, 1), Timestamp(1, 2), Regex("a"), Code("x"), MaxKey(),
    ]  # fmt: skip
    keys = [order_key(value) for value in ascending]
    assert keys == sorted(keys)
    assert all(one != other for one, other in itertools.pairwise(keys))
    assert order_key(5) == order_key(5.0) == order_key(Decimal128("5.00"))


def test_rows_come_in_the_order_of_ids_and_only_of_this_campaign():
    odd = [dict(make_entry(1), _id={"campaign_id": hex_id(1), "user_id": user_id}) for user_id in (True, "b", 7, "B")]
    campaign = bundle(users=[], entries=[*odd, make_entry(9), make_entry(8), make_entry(3, campaign=2)])
    written = export(campaign, "entries")
    ids = [line.split(",")[0] for line in written.files[""].decode().splitlines()[1:]]
    assert ids == ["7", hex_id(8), hex_id(9), "B", "b", "true"]
    assert (written.rows, written.warnings) == (6, {"unknownUser": 6})


@pytest.mark.parametrize("origin", [ABSENT, None, "text", 5, {}, {"ip": None}, {"ip": "text"}, {"ip": {}}])
def test_a_field_of_what_is_not_a_document_is_missing(origin):
    entry = make_entry(1)
    entry["origin"] = origin
    if origin is ABSENT:
        del entry["origin"]
    assert column(bundle(entries=[entry]), "ip_address") == [""]
    assert column(bundle(entries=[entry]), "Zip Code") == ["78701"], "the user's postal code stands in"


@pytest.mark.parametrize(
    ("origin", "address"),
    [
        ([{"ip": {"address": "a"}}, 5, {}, [{"ip": {"address": "no"}}], {"ip": {"address": None}}], "a;"),
        ({"ip": [{"address": "a"}, {"address": "b"}]}, "a;b"),
        ([{"ip": [{"address": "a"}, {"address": "b"}]}, {"ip": {"address": "c"}}], "a;b;c"),
        ([], ""),
    ],
)
def test_a_path_through_an_array_gives_the_array_of_what_it_finds(origin, address):
    entry = make_entry(1) | {"origin": origin}
    assert column(bundle(entries=[entry]), "ip_address") == [address]
