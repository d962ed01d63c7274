"""The oracle against hand-made files: reminderEmail, reminderEmailSample, autoReminderEmail."""

from __future__ import annotations

import csv
import hashlib
import io

import pytest

from tests.builders import ABSENT, hex_id, make_campaign, make_entry, make_market, make_scoring, make_user
from tests.reference import export
from tests.unit.reference_helpers import C1, M1, M2, M3, bundle

HEADER = (
    "SubscriberKey,EmailAddress,FirstName,LastName,Locale,CountryCode,Region,ArtistName,CampaignId,CampaignName,"
    "MarketName,City,State,EventDate,EventIds,AccessCode,TicketUrl\n"
)
KEY1 = "b5acd3e0f343e92dda45dbb5a6c0cd458083d5e04a01525dc3e9c30d02425d0c"  # printf fan1@example.com | sha256sum
SHOW = 'Austin,TX,2024-07-04 20:00:00,"EV1,EV2"'


def rows(campaign, export_type="reminderEmailSample", **options):
    """Return the rows of all files as {header: cell}."""
    files = export(campaign, export_type, **options).files.values()
    return [row for content in files for row in csv.DictReader(io.StringIO(content.decode(), newline=""))]


def test_reminder_email():
    scoring = [
        make_scoring(2, 1, codes=[]),
        make_scoring(1),
        make_scoring(3, selected=False),
        make_scoring(4, campaign=2),
    ]
    written = export(bundle(scoring=scoring), "reminderEmail")
    assert written.files == {
        "NA/en-us-001.csv": (
            f"{HEADER}{KEY1},fan1@example.com,First1,Last1,en-us,US,NA,The Band,{C1},Summer Tour,Market 1,{SHOW},CODE1,"
            "https://tickets.example/summer\n"
        ).encode()
    }
    assert (written.rows, written.warnings, written.skipped) == (1, {}, {"missingCode": 1})
    assert export(bundle(scoring=scoring), "autoReminderEmail").files == {
        ("NA", "en-us", 1): written.files["NA/en-us-001.csv"]
    }
    assert export(bundle(scoring=scoring), "reminderEmailSample").files == {"": written.files["NA/en-us-001.csv"]}


def test_nobody_to_remind():
    assert export(bundle(), "reminderEmail").files == {}
    assert export(bundle(), "autoReminderEmail").files == {}
    assert export(bundle(), "reminderEmailSample").files == {"": HEADER.encode()}


def test_the_subscriber_key_is_of_the_trimmed_lower_case_email():
    entry = make_entry(1, fields={"email": " Fan1@EXAMPLE.com\t"})
    (row,) = rows(bundle(entries=[entry], scoring=[make_scoring(1)]))
    assert (row["SubscriberKey"], row["EmailAddress"]) == (KEY1, " Fan1@EXAMPLE.com\t")
    (row,) = rows(bundle(entries=[make_entry(1, fields={"email": "É\udcff"})], scoring=[make_scoring(1)]))
    assert row["SubscriberKey"] == hashlib.sha256("é\ufffd".encode()).hexdigest()
    (row,) = rows(bundle(entries=[], scoring=[make_scoring(1)]))
    assert row["EmailAddress"] == "user1@example.com"


def test_who_has_no_row():
    no_email = {"users": [make_user(1, ticketmaster={"email": ABSENT})]}
    for email in (ABSENT, None, "", " \t\u00a0", "\0"):
        entries = [make_entry(1, fields={"email": email})]
        written = export(bundle(**no_email, entries=entries, scoring=[make_scoring(1)]), "reminderEmail")
        assert (written.files, written.skipped) == ({}, {"missingEmail": 1}), repr(email)
    for codes in (ABSENT, None, [], [{"marketId": M1}], [{"id": "", "marketId": M1}], ["CODE"]):
        scoring = [make_scoring(1, codes=codes), make_scoring(2, 9, codes=codes)]
        written = export(bundle(scoring=scoring), "reminderEmail")
        assert (written.files, written.skipped) == ({}, {"missingCode": 2, "missingEmail": 1}), codes
        assert written.warnings == {}, "who has no row causes no warning"


def test_one_row_per_market_with_its_first_code():
    codes = [
        {"id": "B", "marketId": M2},
        {"id": "Z", "marketId": M1},
        {"id": "A", "marketId": M2},
        {"id": "a", "marketId": M1},
        {"id": 5, "marketId": "gone"},
        {"id": "N"},
    ]
    campaign = bundle(markets=[make_market(1), make_market(2), make_market(3)], scoring=[make_scoring(1, codes=codes)])
    found = [(row["MarketName"], row["City"], row["EventDate"], row["AccessCode"]) for row in rows(campaign)]
    date = "2024-07-04 20:00:00"
    assert found == [
        ("", "", "", "N"),
        ("Market 1", "Austin", date, "Z"),
        ("Market 2", "Austin", date, "A"),
        ("", "", "", "5"),
    ]
    written = export(campaign, "reminderEmail")
    assert (written.rows, written.warnings) == (4, {"unknownMarket": 1}), "counted per fan"


@pytest.mark.parametrize(
    ("scoring", "entry", "country", "region", "locale"),
    [
        ({"countryCode": "us"}, {}, "US", "NA", "en-us"),
        ({"countryCode": "MX", "locale": "en-MX"}, {}, "MX", "NA", "en-us"),
        ({"countryCode": "ie", "locale": "en-ie"}, {}, "IE", "UK", "en-gb"),
        ({"countryCode": ABSENT, "locale": "en-uk"}, {"countryCode": ABSENT}, "GB", "UK", "en-gb"),
        ({"countryCode": "", "locale": "en-uk"}, {"countryCode": "CA"}, "CA", "NA", "en-gb"),
        ({"countryCode": "UK"}, {}, "UK", "UK", "en-us"),
        ({"countryCode": "DE", "locale": "de-DE"}, {}, "DE", "DE", "de-de"),
        ({"countryCode": "NZ", "locale": "en-nz"}, {}, "NZ", "NZ", "en-au"),
        ({"countryCode": None, "locale": None}, {"countryCode": None, "locale": "fr-ca"}, "CA", "NA", "fr-ca"),
        ({"countryCode": None, "locale": "zh_Hant_TW"}, {"countryCode": None}, "TW", "TW", "zh_hant_tw"),
        ({"countryCode": None, "locale": "fr"}, {"countryCode": None}, "", "UNKNOWN", "fr"),
        ({"countryCode": None, "locale": "es-419"}, {"countryCode": None}, "", "UNKNOWN", "es-419"),
        ({"countryCode": None, "locale": None}, {"countryCode": None, "locale": None}, "", "UNKNOWN", "en-us"),
        ({"countryCode": "CA", "locale": ""}, {"locale": ""}, "CA", "NA", "en-us"),
        ({"countryCode": "GB", "locale": ABSENT}, {"locale": ABSENT}, "GB", "UK", "en-gb"),
        ({"countryCode": "DE", "locale": ABSENT}, {"locale": ABSENT}, "DE", "DE", "en-gb"),
        ({"countryCode": 5, "locale": 7}, {}, "5", "5", "7"),
    ],
)
def test_country_region_and_locale(scoring, entry, country, region, locale):
    entry = dict(entry)
    origin = {"ip": {"countryCode": entry.pop("countryCode", "US")}}
    campaign = bundle(entries=[make_entry(1, origin=origin, **entry)], scoring=[make_scoring(1, **scoring)])
    (row,) = rows(campaign)
    assert (row["CountryCode"], row["Region"], row["Locale"]) == (country, region, locale)
    written = export(campaign, "reminderEmail")
    assert list(written.files) == [f"{region}/{locale}-001.csv"]
    assert written.warnings == ({} if country else {"unknownRegion": 1})


def test_the_tables_are_settings():
    campaign = bundle(scoring=[make_scoring(1, countryCode="DE", locale="de-de")])
    written = export(campaign, "reminderEmail", regions={"DE": "EU"}, sfmc_locales={"de-de": "de"})
    assert list(written.files) == ["EU/de-001.csv"]


@pytest.mark.parametrize(
    ("country", "locale", "name"),
    [("../x", "a/b", ".._X/a_b-001.csv"), ("..", "..", "__/__-001.csv"), ("d,e", "ü\n", "D_E/ü_-001.csv")],
)
def test_file_names_stay_in_their_folder(country, locale, name):
    campaign = bundle(scoring=[make_scoring(1, countryCode=country, locale=locale)])
    assert list(export(campaign, "reminderEmail").files) == [name]
    (row,) = rows(campaign)
    assert (row["CountryCode"], row["Locale"]) == (country.upper(), locale), "cells are as they are"


@pytest.mark.parametrize(
    ("kind", "name", "fan_club", "artist"),
    [
        ("standard", "The Band", "The Fan Club", "The Band"),
        ("fanclub", "The Band", "The Band Fan Club", "The Band Fan Club"),
        ("fanclub", "The Band", "Stage Door", "The Band Stage Door"),
        ("fanclub", "The Band", "the band club", "The Band the band club"),
        ("fanclub", "The Band", None, "The Band"),
        ("fanclub", "The Band", "", "The Band"),
        ("fanclub", None, "Stage Door", "Stage Door"),
        ("fanclub", 7, "Club 7", "Club 7"),
        ("fanclub", None, None, ""),
        ("FANCLUB", "The Band", "Stage Door", "The Band"),
    ],
)
def test_artist_name(kind, name, fan_club, artist):
    campaign = make_campaign(type=kind, artist={"name": name, "fanClubName": fan_club})
    (row,) = rows(bundle(campaign=campaign, scoring=[make_scoring(1)]))
    assert row["ArtistName"] == artist


def test_regions_locales_and_parts():
    countries = ["US", "DE", "US", "CA", "GB", "US", None]
    scoring = [
        make_scoring(number, 1, countryCode=country, locale="fr-ca" if country == "CA" else "en")
        for number, country in enumerate(countries, start=1)
    ]
    entry = make_entry(1, origin={"ip": {"countryCode": ABSENT}})
    campaign = bundle(entries=[entry], scoring=scoring)
    written = export(campaign, "autoReminderEmail", max_rows_per_file=2)
    codes = {
        name: [row["AccessCode"] for row in csv.DictReader(io.StringIO(content.decode()))]
        for name, content in written.files.items()
    }
    assert list(codes.items()) == [
        (("DE", "en", 1), ["CODE2"]),
        (("NA", "en", 1), ["CODE1", "CODE3"]),
        (("NA", "en", 2), ["CODE6"]),
        (("NA", "fr-ca", 1), ["CODE4"]),
        (("UK", "en", 1), ["CODE5"]),
        (("UNKNOWN", "en", 1), ["CODE7"]),
    ]
    assert (written.rows, written.warnings) == (7, {"unknownRegion": 1})
    assert list(export(campaign, "reminderEmail", max_rows_per_file=2).files)[1:3] == [
        "NA/en-001.csv",
        "NA/en-002.csv",
    ]


def test_a_sample_is_the_first_rows_per_locale_and_market():
    both = [{"id": "X", "marketId": M1}, {"id": "Y", "marketId": M2}]
    scoring = [
        make_scoring(1, 1, codes=[{"id": "A", "marketId": M1}]),
        make_scoring(2, 1, codes=both, countryCode="DE"),
        make_scoring(3, 1, codes=both),
        make_scoring(4, 1, locale="fr-fr"),
        make_scoring(5, 8, codes=[{"id": "Q", "marketId": M3}]),
        make_scoring(6, 9, codes=both),
    ]
    entries = [make_entry(1), make_entry(8), make_entry(9)]
    campaign = bundle(markets=[make_market(1), make_market(2)], entries=entries, scoring=scoring)
    codes = [row["AccessCode"] for row in rows(campaign, sample_rows=2)]
    assert codes == ["A", "X", "Y", "Y", "CODE4", "Q"]
    written = export(campaign, "reminderEmailSample", sample_rows=2)
    assert (written.rows, written.warnings) == (6, {"unknownUser": 1, "unknownMarket": 1}), "only who is in the sample"
    assert export(campaign, "reminderEmailSample").rows == 9


def test_a_fan_without_entry_or_user_is_still_reminded():
    scoring = [make_scoring(1), make_scoring(2)]
    campaign = bundle(users=[make_user(1)], entries=[make_entry(2)], scoring=scoring)
    found = [(row["EmailAddress"], row["FirstName"]) for row in rows(campaign)]
    assert found == [("user1@example.com", "First1"), ("fan2@example.com", "Fan2")]
    assert export(campaign, "reminderEmail").warnings == {"unknownUser": 1}
    assert hex_id(2) not in export(campaign, "reminderEmailSample").files[""].decode()
