"""One hand-made campaign that holds every special case of 03-export-types; the files beside this one are its exports.

Each document says in its comment what it is there for. Parts are of 2 rows and samples of 1: few rows show both.
Bytes that are not UTF-8 and dates beyond the years 1-9999 are not here, since the embedded server does not keep them
reliably: see tests/unit/test_decode.py.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from bson import Decimal128, ObjectId

from tests.builders import (
    ABSENT,
    DATE_KEY,
    hex_id,
    make_campaign,
    make_code,
    make_entry,
    make_market,
    make_promoter,
    make_scoring,
    make_sms_wave,
    make_user,
    object_id,
)
from tests.reference import Campaign

MAX_ROWS_PER_FILE = 2
SAMPLE_ROWS = 1

UNKNOWN = hex_id(0x99)
FOREIGN = 2  # another campaign, whose documents stand among ours
FAN_WITH_UPPER_CASE_ID = 0xAB  # whose user is the ObjectId that it means
UPPER_CASE_ID = hex_id(FAN_WITH_UPPER_CASE_ID).upper()


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[misc, arg-type]


CAMPAIGN = make_campaign(
    name='Été "Live", Tour',  # a name that has to be quoted, and that a key cannot hold
    type="fanclub",
    artist={"name": "The Band", "fanClubName": "Army"},
    promoterIds=["p1", "p2", "p3", "p-gone", "p5", "p1"],
    preferences=[
        {"id": "color", "type": "text", "is_optional": True, "label": {"en-us": "Color"}},
        {"id": "shirt.size", "type": "select", "is_optional": True, "label": {"en-us": "Size"}},
        {"id": "vip", "type": "check,box", "is_optional": False, "label": {"en-us": "VIP"}},
    ],
)

MARKETS = [
    make_market(1),
    # No state; the day with a leading zero, the month without.
    make_market(
        2,
        name="London, O2",
        city="London",
        state=ABSENT,
        countryCode="GB",
        event={"date": moment(2024, 9, 5, 23, 59, 59), "ids": ["EV3"]},
    ),
    # No date and no event ids.
    make_market(3, name="Toronto", city="Toronto", state="ON", countryCode="CA", event={"date": ABSENT, "ids": ABSENT}),
    # Neither city nor state, no country, a name that begins like a formula.
    make_market(4, name='=cmd|"x"', city=ABSENT, state=None, countryCode=ABSENT, event={"date": moment(2025, 11, 30)}),
    make_market(5, campaign=FOREIGN, name="Foreign"),
]

ALL_OPT_INS = {"allowMarketing": True, "allowSms": True, "allowLiveNation": True, "promoterOptIns": ["p1", "p2", "p3"]}

USERS = [
    make_user(1),
    make_user(2),
    # 3 is gone.
    make_user(4),
    # Values of another type than usual.
    make_user(
        5, ticketmaster={"id": 55, "member_id": Decimal128("500.50"), "postalCode": 78701, "name": {"first": None}}
    ),
    # Text that a spreadsheet would take for a formula, and text that only looks so.
    make_user(
        6,
        ticketmaster={
            "id": "@six",
            "globalUserId": "\tg6",
            "name": {"first": '=HYPERLINK("https://x.example","6")', "last": "-5.50"},
        },
    ),
    make_user(7, ticketmaster={"email": "", "name": {"first": "Line\nbreak", "last": 'Quote", comma'}}),
    make_user(8, ticketmaster={"name": {"first": "\0Nul\0", "last": "\rReturn"}}),
    make_user(9, ticketmaster={"phone": "", "postalCode": ABSENT}),
    make_user(10, ticketmaster={"name": {"first": "花子", "last": "🎸 Ödegård"}}),
    make_user(11),
    make_user(FAN_WITH_UPPER_CASE_ID),
]

ENTRIES = [
    make_entry(1, fields={**ALL_OPT_INS, "color": "blue", "shirt.size": "XL", "vip": True}),
    # Additional markets: the own again, a known, an unknown, another campaign's, another known, a known again.
    make_entry(
        2,
        locale="fr-ca",
        accountFanscore=math.nan,
        fields={
            **ALL_OPT_INS,
            "additionalMarkets": [hex_id(1), hex_id(2), UNKNOWN, hex_id(5), hex_id(3), hex_id(2)],
            "color": None,
            "promoterOptIns": ["p2", "p-gone", "p9", "p2"],
        },
        origin={"ip": {"countryCode": "", "postalCode": None}},
    ),
    # The user is gone, the market unknown, an additional one known.
    make_entry(
        3,
        accountFanscore=1e-07,
        fields={"market": UNKNOWN, "additionalMarkets": [hex_id(3)], "allowMarketing": True, "allowSms": True},
        origin={"ip": {"countryCode": ABSENT}},
    ),
    # An entry of nothing but its id: what can be taken from the user is.
    {"_id": make_entry(4)["_id"]},
    # Dirt: numbers, an ObjectId, a Decimal128, a text instead of a date, opt-ins that are not exactly true.
    make_entry(
        5,
        date={"created": "2024-01-05", "phoneConfirmed": ABSENT},
        locale=ABSENT,
        accountFanscore=1e22,
        nudetect={"score": "n/a", "scoreBand": 3},
        fields={
            "market": object_id(2),
            "phone": 5125550105,
            "email": "",
            "first_name": 5.0,
            "last_name": object_id(5),
            "allowMarketing": "true",
            "allowSms": 1,
            "allowLiveNation": [True],
            "promoterOptIns": "p1",
            "color": Decimal128("1.10"),
            "vip": False,
        },
        origin={"ip": {"postalCode": 78701.0, "latitude": Decimal128("30.250"), "longitude": -97, "countryCode": 840}},
    ),
    # Formulas, and a phone that is none.
    make_entry(
        6,
        locale="xx",
        accountFanscore=-0.0,
        fields={
            "market": hex_id(4),
            "phone": "+1 (512) 555-0106",
            "email": "+six@example.com",
            "allowMarketing": True,
            "allowSms": True,
            "color": ["=1", "b", None, 1.5, True],
            "vip": {"b": 1, "a": [True, None, moment(2024, 1, 2)], "ä": "ö"},
        },
        origin={"ip": {"address": "-unknown-", "countryCode": ABSENT}},
    ),
    # Before 1970: cut to the second, not rounded. No email anywhere.
    make_entry(
        7,
        date={"created": moment(1969, 12, 31, 23, 59, 59, 999000), "phoneConfirmed": moment(1, 1, 1)},
        accountFanscore=math.inf,
        fields={"email": None, "allowMarketing": True, "promoterOptIns": []},
    ),
    # An email that is compared trimmed and in lower case, but written as it is.
    make_entry(
        8, accountFanscore=7, fields={"email": " Fan8@Example.COM ", "allowLiveNation": True, "color": ["-", "x"]}
    ),
    # Allows text messages, but has no phone.
    make_entry(9, locale=ABSENT, fields={"phone": "", "allowSms": True, "market": ABSENT}, origin=ABSENT),
    make_entry(10, locale="en-UK", fields={**ALL_OPT_INS, "market": hex_id(2), "promoterOptIns": ["p3"]}),
    make_entry(1, campaign=FOREIGN, fields=ALL_OPT_INS),
    make_entry(11, locale="de-DE", fields={"market": hex_id(3), "first_name": ABSENT}),
    make_entry(FAN_WITH_UPPER_CASE_ID) | {"_id": {"campaign_id": hex_id(1), "user_id": UPPER_CASE_ID}},
]

SCORING = [
    make_scoring(1),
    # Several codes: sorted by id, the first of each market, in the order of the markets. The locale is the entry's.
    make_scoring(
        2,
        countryCode="gb",
        locale="",
        codes=[
            {"id": "C9", "marketId": hex_id(1)},
            {"id": "C1", "marketId": hex_id(2)},
            {"id": "C5", "marketId": hex_id(1)},
            {"id": "C2", "marketId": hex_id(3)},
        ],
    ),
    make_scoring(3, codes=[]),  # no code
    make_scoring(4, countryCode=ABSENT, locale="en-uk", marketId=hex_id(2)),  # the country is the locale's: GB
    make_scoring(5, countryCode="DE", locale=ABSENT, memberId=5),  # no locale at all, outside NA: en-gb
    make_scoring(6, countryCode=None, locale="xx"),  # no country at all
    make_scoring(7),  # no email
    make_scoring(8, countryCode="MX", locale="en-MX", priority=2.0, score=0.1),  # the address is trimmed for its key
    make_scoring(9, locale=None, marketId=UNKNOWN, codes=[{"id": 9, "marketId": UNKNOWN}]),  # no locale, NA: en-us
    make_scoring(10, countryCode="au", locale="en-nz", codes=[{"id": "D1"}, {"id": None, "marketId": hex_id(1)}]),
    make_scoring(12, user=0x77),  # names a user who does not exist, and no entry: no email
    make_scoring(13, user=1, marketId=hex_id(2), score="high", codes=[{"id": "E1", "marketId": hex_id(2)}]),  # twice
    make_scoring(14, userId=UPPER_CASE_ID, memberId="m171", countryCode="CA", locale="fr-CA"),
    make_scoring(15, user=1, campaign=FOREIGN),
    # Not selected.
    make_scoring(20, user=11, selected="true", memberId="m11"),  # a text is not true; m11 is in a SENT wave only
    make_scoring(21, user=3, selected=False, memberId="m21"),  # in a SCHEDULED wave
    make_scoring(22, user=4, selected=ABSENT, memberId=ABSENT, userId=ABSENT, marketId=ABSENT, locale=ABSENT),
    make_scoring(23, user=5, selected=None, memberId=23, priority=None),  # in a SCHEDULED wave, there as a text
    make_scoring(24, user=6, selected=False, memberId="=24", score=math.nan, marketId=hex_id(4)),
    make_scoring(25, user=0x77, selected=1, memberId="m25", locale=None, marketId=UNKNOWN),
]

OTHER_WAVE = "1700000000001"
CODES = [
    make_code("A-1"),
    make_code("A-2", user=1),
    make_code("A-3", user=3, status="REDEEMED", dateKey=int(DATE_KEY), eventId=ABSENT),
    make_code("A-4", user=2, dateKey=OTHER_WAVE),
    make_code("A-5", user=0x77, marketId=UNKNOWN),
    make_code("A-6", user=4, status="assigned", dateKey=ABSENT),  # neither ASSIGNED nor REDEEMED
    make_code("=A-7", user=6, marketId=object_id(4), eventId=7),
    make_code("A-8", status="ASSIGNED", dateKey=float(DATE_KEY)),  # without its assignment
    make_code("Z-1", user=1, campaign=FOREIGN),
]

SMS_WAVES = [
    make_sms_wave(1, ["m21", "23"]),
    make_sms_wave(2, ["m99", None, ""]),
    make_sms_wave(3, ["m11"], status="SENT"),
    make_sms_wave(4, ["=24"], status="CANCELED"),
    make_sms_wave(5, ["=24", "m11"], campaign=FOREIGN),
]

PROMOTERS = [
    make_promoter("p1"),
    make_promoter("p2", name="../../etc/passwd"),
    make_promoter("p3"),  # named as p1 is
    make_promoter("p5", name="Ünï & Co."),  # nobody opted in
    make_promoter("p9", name="Not of this campaign"),
]

BUNDLE = Campaign(
    CAMPAIGN,
    markets=list(MARKETS),
    users=list(USERS),
    entries=list(ENTRIES),
    scoring=list(SCORING),
    codes=list(CODES),
    sms_waves=list(SMS_WAVES),
    promoters=list(PROMOTERS),
)

# The export document that the files' keys come from.
EXPORT_ID = str(ObjectId(hex_id(0xE)))
CREATED = datetime(2024, 3, 1, 12, 30, 45, 678000, tzinfo=UTC)

Document = dict[str, Any]
