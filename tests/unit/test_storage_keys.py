from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vfexport_core.storage.object_keys import (
    CONTENT_TYPES,
    content_disposition,
    download_name,
    key_text,
    object_key,
    staging_key,
    staging_prefix,
)

# How long an example takes says nothing on a busy machine.
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

CAMPAIGN, EXPORT = "64b7f0c2a1d3e4f5a6b7c8d9", "64b7f0c2a1d3e4f5a6b7c8e0"
CREATED = datetime(2025, 3, 4, 5, 6, 7, 999_000, tzinfo=UTC)


def key(name="Eras Tour", attempt=1, created=CREATED, extension="csv"):
    return object_key(CAMPAIGN, name, "entries", created, EXPORT, attempt, extension)


def test_key_of_the_first_attempt():
    assert key() == f"{CAMPAIGN}/entries/Eras-Tour-20250304T050607Z-{EXPORT}.csv"
    assert key(extension="zip").endswith(f"-{EXPORT}.zip")


@pytest.mark.parametrize("attempt", [2, 3, 11])
def test_later_attempts_have_keys_of_their_own(attempt):
    assert key(attempt=attempt) == f"{CAMPAIGN}/entries/Eras-Tour-20250304T050607Z-{EXPORT}-{attempt}.csv"


def test_dates_are_in_utc_and_cut_to_the_second():
    local = CREATED.astimezone(timezone(timedelta(hours=-7)))
    assert local.day != CREATED.day
    assert key(created=local) == key()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Plain_name-1", "Plain_name-1"),
        ("a b", "a-b"),
        ("a - b", "a-b"),
        ("a & b / c\\d", "a-b-c-d"),
        ("a--b", "a-b"),
        ("(live)", "-live-"),
        ("../../etc/passwd", "-etc-passwd"),
        ("Beyoncé", "Beyonc-"),
        ("日本語", "-"),
        ("a\r\nb", "a-b"),
        ("", "campaign"),
        ("x" * 81, "x" * 80),
        ("y " * 60, "y-" * 40),
    ],
)
def test_names_in_keys(name, text):
    assert key_text(name) == text


@patiently
@given(st.text())
def test_any_name_gives_a_safe_key(name):
    text = key_text(name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", text)
    assert "--" not in text
    assert key(name).count("/") == 2


def test_staging_keys_of_an_attempt_share_a_prefix():
    assert staging_key(EXPORT, 2, 7) == f"_staging/{EXPORT}-2/7"
    assert staging_key(EXPORT, 2, 7).startswith(staging_prefix(EXPORT, 2))
    assert not staging_key(EXPORT, 21, 7).startswith(staging_prefix(EXPORT, 2))


def test_content_types():
    assert CONTENT_TYPES == {"csv": "text/csv; charset=utf-8", "zip": "application/zip"}


@pytest.mark.parametrize(
    ("name", "export_type", "extension", "expected"),
    [
        ("Eras Tour", "entries", "csv", "Eras Tour - entries - 2025-03-04.csv"),
        ("Eras Tour", "promoterEmailOptIn", "zip", "Eras Tour - promoterEmailOptIn - 2025-03-04.zip"),
        ("Eras Tour", "reminderEmail", "zip", "Combined - Eras Tour ASU - Reminder Email Data - 2025-03-04.zip"),
        ("Eras Tour", "reminderEmailSample", "csv", "Eras Tour - reminderEmailSample - 2025-03-04.csv"),
        ("Beyoncé 日本 🎤", "entries", "csv", "Beyoncé 日本 🎤 - entries - 2025-03-04.csv"),
        ("AC/DC\\live", "entries", "csv", "AC-DC-live - entries - 2025-03-04.csv"),
        ("../../etc/passwd", "entries", "csv", "..-..-etc-passwd - entries - 2025-03-04.csv"),
        ("a\r\nSet-Cookie: b", "entries", "csv", "a Set-Cookie: b - entries - 2025-03-04.csv"),
        ("a\x00\x7f\x85\u2028b", "entries", "csv", "a b - entries - 2025-03-04.csv"),
        ("vsc.\u202eexe", "entries", "csv", "vsc.exe - entries - 2025-03-04.csv"),
        ('The "Tour"', "entries", "csv", 'The "Tour" - entries - 2025-03-04.csv'),
        ("{name} %s {0}", "entries", "csv", "{name} %s {0} - entries - 2025-03-04.csv"),
        ("\ud800x", "entries", "csv", "\ufffdx - entries - 2025-03-04.csv"),
        ("  ", "entries", "csv", "campaign - entries - 2025-03-04.csv"),
        ("", "entries", "csv", "campaign - entries - 2025-03-04.csv"),
    ],
)
def test_download_names(name, export_type, extension, expected):
    assert download_name(name, export_type, extension, CREATED) == expected


def test_download_names_tell_the_files_of_a_campaign_apart():
    def name(created=CREATED, **options):
        return download_name("Eras Tour", "codeWaves", "csv", created, **options)

    assert name(date_key="17") == "Eras Tour - codeWaves - wave 17 - 2025-03-04.csv"
    assert name(all_markets=True) == "Eras Tour - codeWaves - all markets - 2025-03-04.csv"
    late = datetime.fromisoformat("2025-03-05T00:30:00+01:00")
    assert name(late) == "Eras Tour - codeWaves - 2025-03-04.csv", "the day is that of UTC"


@patiently
@given(st.text(min_size=100, max_size=400))
def test_long_download_names_fit_a_file_system_and_keep_their_extension(name):
    result = download_name(name, "reminderEmail", "zip", CREATED, date_key="9" * 32, all_markets=True)
    assert len(result.encode()) <= 255
    assert result.endswith(".zip")


def saved_as(header):
    """Read the header as a browser does: `filename*` if there is one, else `filename`."""
    exact = re.fullmatch(r"attachment; filename=\"[^\"]*\"; filename\*=UTF-8''(\S+)", header)
    if exact:
        return unquote(exact[1], errors="strict")
    message = Message()
    message["Content-Disposition"] = header
    return message.get_filename()


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a - entries.csv", 'attachment; filename="a - entries.csv"'),
        ("é.csv", "attachment; filename=\"e.csv\"; filename*=UTF-8''%C3%A9.csv"),
        ("日本 x.csv", "attachment; filename=\"__ x.csv\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC%20x.csv"),
        ('a"b.csv', "attachment; filename=\"a'b.csv\"; filename*=UTF-8''a%22b.csv"),
        ("100%41.csv", "attachment; filename=\"100_41.csv\"; filename*=UTF-8''100%2541.csv"),
        ("a\r\nX-Evil: 1.csv", 'attachment; filename="a X-Evil: 1.csv"'),
        ("a;b,c.csv", 'attachment; filename="a;b,c.csv"'),
        ("a'(*)b.csv", 'attachment; filename="a\'(*)b.csv"'),
        ("é'(*).csv", "attachment; filename=\"e'(*).csv\"; filename*=UTF-8''%C3%A9%27%28%2A%29.csv"),
        ("a/b\\c.csv", 'attachment; filename="a-b-c.csv"'),
    ],
)
def test_content_disposition(name, header):
    assert content_disposition(name) == header


@pytest.mark.parametrize(
    ("name", "fallback"),
    [
        ("Łódź Ørsted Straße Æon", "Lodz Orsted Strasse AEon"),
        ("Motörhead \u2013 “Live” • 20 €", "Motorhead - 'Live' - 20 EUR"),
        ("İstanbul\u2019da \u0131s\u0131", "Istanbul'da isi"),
        ("ﬁnal ½ ①", "final 1_2 1"),
    ],
)
def test_the_name_for_programs_that_know_only_ascii_keeps_what_it_can(name, fallback):
    assert content_disposition(name).startswith(f'attachment; filename="{fallback}"; ')
    assert saved_as(content_disposition(name)) == name


@patiently
@given(st.text(alphabet=st.characters(codec=None)))
def test_any_name_gives_one_header_that_says_the_name(name):
    header = content_disposition(name)
    assert re.fullmatch(r"[\x20-\x7e]+", header)
    assert header.count('"') == 2
    saved = saved_as(header)
    assert not re.search(r"[/\\\x00-\x1f\x7f-\x9f]", saved)
    if re.fullmatch(r"\w+", name):
        assert saved == name


@patiently
@given(st.text())
def test_download_names_survive_the_header(name):
    file_name = download_name(name, "entries", "csv", CREATED)
    assert saved_as(content_disposition(file_name)) == file_name
