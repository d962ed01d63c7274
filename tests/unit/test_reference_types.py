"""The oracle against hand-made files: the other types but the reminders."""

from __future__ import annotations

import pytest

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
)
from tests.reference import EXPORT_TYPES, NoMarketsFound, PromotersNotFound, export
from tests.unit.reference_helpers import C1, M1, M2, M3, OPT_IN_HEADER, U1, U2, U3, VERIFIED_HEADER, bundle, csv_lines


def test_verified_entries():
    scoring = [
        make_scoring(1, 1, marketId=M2, locale=None),
        make_scoring(2, 2, selected=False),
        make_scoring(3, 2, selected="true"),
        make_scoring(4, 3, marketId="gone", score=ABSENT),
        make_scoring(5, 3, priority=9),
        make_scoring(6, 4),
        make_scoring(7, 5, campaign=2),
    ]
    entries = [make_entry(user, locale="fr-fr") for user in (1, 2, 3, 5)]
    campaign = bundle(markets=[make_market(1), make_market(2)], entries=entries, scoring=scoring)
    assert csv_lines(campaign, "verifiedEntries") == [
        VERIFIED_HEADER,
        f"{C1},{U1},m1,g1,fan1@example.com,5125550001,First1,Last1,{M2},Market 2,fr-fr,0.5,1,2024-01-02 03:04:05",
        f"{C1},{U3},m3,,fan3@example.com,5125550003,Fan3,Family3,gone,,en-us,,1,2024-01-02 03:04:05",
    ]
    assert export(campaign, "verifiedEntries").warnings == {"unknownUser": 1, "unknownMarket": 1}


def test_codes():
    codes = [
        make_code("b", 1),
        make_code("B"),
        make_code("a", marketId="gone", eventId=5.0, status="REDEEMED"),
        make_code("c", campaign=2),
    ]
    campaign = bundle(codes=codes, entries=[])
    assert csv_lines(campaign, "codes") == [
        "code,market_id,market,event_id,status,assigned_to,assigned_at",
        f"B,{M1},Market 1,EV1,AVAILABLE,,",
        "a,gone,,5,REDEEMED,,",
        f"b,{M1},Market 1,EV1,ASSIGNED,m1,2024-02-03 04:05:06",
    ]
    assert export(campaign, "codes").warnings == {"unknownMarket": 1}
    assert export(bundle(codes=codes, markets=[]), "codes").warnings == {"unknownMarket": 3}


def test_code_assignments():
    codes = [
        make_code("a", 1, status="REDEEMED"),
        make_code("b", 2),
        make_code("c", 1, status="AVAILABLE"),
        make_code("d", 3),
    ]
    campaign = bundle(codes=[*codes, make_code("e", status="ASSIGNED")], entries=[make_entry(1), make_entry(2)])
    assert csv_lines(campaign, "codeAssignments") == [
        "event_id,market_id,code,user_id,member_id,globalUserId,email,first_name,last_name,assigned_at",
        f"EV1,{M1},a,{U1},m1,g1,fan1@example.com,First1,Last1,2024-02-03 04:05:06",
        f"EV1,{M1},b,{U2},m2,,fan2@example.com,Fan2,Family2,2024-02-03 04:05:06",
        f"EV1,{M1},d,{U3},m3,,,,,2024-02-03 04:05:06",
        f"EV1,{M1},e,,,,,,,",
    ]
    assert export(campaign, "codeAssignments").warnings == {"unknownUser": 2}


def test_code_waves():
    codes = [
        make_code("a", 1),
        make_code("b"),
        make_code("c", dateKey="1700000000001"),
        make_code("d", dateKey=int(DATE_KEY)),
        make_code("e", dateKey=ABSENT),
    ]
    campaign = bundle(codes=codes, markets=[])
    assert csv_lines(campaign, "codeWaves", date_key=DATE_KEY) == [
        "member_id,code,event_id,market_id,phone,first_name,locale,date_key",
        f"m1,a,EV1,{M1},5125550001,First1,en-us,{DATE_KEY}",
        f",b,EV1,{M1},,,,{DATE_KEY}",
        f",d,EV1,{M1},,,,{DATE_KEY}",
    ]
    assert export(campaign, "codeWaves", date_key=DATE_KEY).warnings == {}
    with pytest.raises(ValueError, match="date_key"):
        export(campaign, "codeWaves")


@pytest.mark.parametrize(
    ("export_type", "field"), [("artistOptIn", "allowMarketing"), ("livenationOptIn", "allowLiveNation")]
)
def test_opt_in_is_exactly_true(export_type, field):
    dirty = [make_entry(10 + n, fields={field: value}) for n, value in enumerate([False, None, 1, "true", [True], 1.0])]
    no_country = make_entry(2, fields={field: True, "market": M2}, origin={"ip": {"countryCode": ""}})
    campaign = bundle(
        markets=[make_market(1), make_market(2, countryCode="CA")],
        entries=[make_entry(1, fields={field: True}), no_country, make_entry(3), *dirty],
    )
    assert csv_lines(campaign, export_type) == [
        OPT_IN_HEADER,
        "fan1@example.com,First1,Last1,78702,US,Market 1,Austin,TX,en-us,2024-01-02 03:04:05",
        "fan2@example.com,Fan2,Family2,78702,CA,Market 2,Austin,TX,en-us,2024-01-02 03:04:05",
    ]
    assert export(campaign, export_type).warnings == {"unknownUser": 1}, "only entries with a row are counted"


def test_artist_sms_opt_in_needs_a_phone():
    entries = [
        make_entry(1, fields={"allowSms": True, "phone": ABSENT}),
        make_entry(2, fields={"allowSms": True, "phone": ""}),
        make_entry(3, fields={"allowSms": True, "phone": 5125550003}),
        make_entry(4),
    ]
    assert csv_lines(bundle(entries=entries), "artistSmsOptIn") == [
        OPT_IN_HEADER.replace("email", "phone"),
        "+15125550001,First1,Last1,78702,US,Market 1,Austin,TX,en-us,2024-01-02 03:04:05",
        "5125550003,Fan3,Family3,78702,US,Market 1,Austin,TX,en-us,2024-01-02 03:04:05",
    ]


def test_promoter_email_opt_in():
    names = {"p1": "A/B: Čaj_1.", "p2": "A?B: Čaj_1.", "p3": "../../etc/passwd", "p4": "A_B_ Čaj_1. (2)", "p5": "\0"}
    campaign = bundle(
        campaign=make_campaign(promoterIds=["p1", "p2", "p1", None, "p3", "p4", "p5", "gone"]),
        promoters=[*(make_promoter(key, name=name) for key, name in names.items()), make_promoter("other")],
        entries=[
            make_entry(1, fields={"promoterOptIns": ["p3", "p1", "p1", "other"]}),
            make_entry(2, fields={"promoterOptIns": "p3"}),
            make_entry(3, fields={"promoterOptIns": ["other", ""]}),
            make_entry(4, fields={"promoterOptIns": ["gone"], "market": "gone"}),
        ],
    )
    written = export(campaign, "promoterEmailOptIn")
    assert list(written.files) == [
        "A_B_ Čaj_1..csv",
        "A_B_ Čaj_1. (2).csv",
        ".._.._etc_passwd.csv",
        "A_B_ Čaj_1. _2_.csv",
        "p5.csv",
        "gone.csv",
    ]
    header = (OPT_IN_HEADER + "\n").encode()
    fan = b"fan1@example.com,First1,Last1,78702,US,Market 1,Austin,TX,en-us,2024-01-02 03:04:05\n"
    assert written.files["A_B_ Čaj_1..csv"] == header + fan
    assert written.files["A_B_ Čaj_1. (2).csv"] == header
    assert written.files[".._.._etc_passwd.csv"].count(b"\n") == 3
    assert written.files["gone.csv"].count(b"\n") == 2
    assert (written.rows, written.warnings) == (4, {"unknownUser": 2, "unknownMarket": 1})


@pytest.mark.parametrize("promoter_ids", [ABSENT, None, [], ["gone"], [None, ""]])
def test_a_campaign_without_promoters(promoter_ids):
    campaign = bundle(campaign=make_campaign(promoterIds=promoter_ids), promoters=[make_promoter()])
    with pytest.raises(PromotersNotFound):
        export(campaign, "promoterEmailOptIn")


def test_fanlist():
    markets = [make_market(1), make_market(2, name=ABSENT), make_market(3, name="=Three, 3")]
    entries = [
        make_entry(1, fields={"additionalMarkets": [M2, "gone", M3, M3, M1]}),
        make_entry(2, fields={"market": ABSENT, "additionalMarkets": [M3]}, locale=ABSENT),
        make_entry(3, fields={"market": "gone"}),
    ]
    campaign = bundle(markets=markets, entries=entries)
    markets_cell = '"Market 1;;\'=Three, 3"'
    assert csv_lines(campaign, "fanlist") == [
        "user_id,member_id,globalUserId,email,first_name,last_name,phone,zip,country,locale,markets,entry_date",
        f"{U1},m1,g1,fan1@example.com,First1,Last1,5125550001,78702,US,en-us,{markets_cell},2024-01-02 03:04:05",
        f'{U2},,,fan2@example.com,Fan2,Family2,5125550002,78702,US,,"\'=Three, 3",2024-01-02 03:04:05',
        f"{U3},,,fan3@example.com,Fan3,Family3,5125550003,78702,US,en-us,,2024-01-02 03:04:05",
    ]
    assert export(campaign, "fanlist", include_all_markets=True).rows == 3
    assert export(campaign, "fanlist").warnings == {"unknownUser": 2, "unknownMarket": 1}


def test_waitlist():
    scoring = [
        make_scoring(1, selected=True),
        make_scoring(2, selected=False, locale=""),
        make_scoring(3, selected=False),
        make_scoring(4, selected=ABSENT, memberId=4),
        make_scoring(5, selected="true", memberId=ABSENT, userId=ABSENT, marketId="gone"),
        make_scoring(6, selected=False),
        make_scoring(7, selected=False, campaign=2),
    ]
    waves = [
        make_sms_wave(1, ["m3", None, ""]),
        make_sms_wave(2, ["4"]),
        make_sms_wave(3, ["m2"], status="SENT"),
        make_sms_wave(4, ["m2"], campaign=2),
        make_sms_wave(5, ["m2"], status="CANCELED"),
    ]
    campaign = bundle(scoring=scoring, sms_waves=waves, entries=[make_entry(2, locale="de-de")], users=[], markets=[])
    assert csv_lines(campaign, "waitlist") == [
        "member_id,user_id,email,phone,first_name,last_name,market_id,market,locale,score,priority",
        f"m2,{U2},fan2@example.com,5125550002,Fan2,Family2,{M1},,de-de,0.5,1",
        ",,,,,,gone,,en-us,0.5,1",
        f"m6,{hex_id(6)},,,,,{M1},,en-us,0.5,1",
    ]
    assert export(campaign, "waitlist").warnings == {"unknownUser": 2, "unknownMarket": 3}


@pytest.mark.parametrize("export_type", EXPORT_TYPES)
def test_only_entry_based_types_need_a_market(export_type):
    campaign = bundle(markets=[make_market(1, campaign=2)], promoters=[])
    if export_type in ("codes", "codeAssignments", "codeWaves", "waitlist"):
        assert export(campaign, export_type, date_key=DATE_KEY).rows == 0
    else:
        with pytest.raises(NoMarketsFound):
            export(campaign, export_type)


@pytest.mark.parametrize("export_type", [kind for kind in EXPORT_TYPES if "eminder" not in kind])
def test_a_file_without_rows_is_its_header(export_type):
    campaign = bundle(entries=[], promoters=[make_promoter()])
    written = export(campaign, export_type, date_key=DATE_KEY)
    assert written.rows == 0
    assert [content.count(b"\n") for content in written.files.values()] == [1]


def test_there_are_fifteen_types():
    assert len(set(EXPORT_TYPES)) == 15
    with pytest.raises(ValueError, match="nonsense"):
        export(bundle(), "nonsense")
