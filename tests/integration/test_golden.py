"""Every type's export of the hand-made campaign, through the servers, is byte for byte what tests/golden has."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders import ABSENT, DATE_KEY, make_campaign, make_entry, make_market, make_scoring, make_user
from tests.delivered import InBuckets, Run, load, make_export, unzipped
from tests.golden import campaign as golden
from tests.golden.regenerate import ALL_MARKETS, CASES, FIGURES, golden_files
from tests.pipeline import run_pipeline
from tests.reference import Campaign
from vfexport_core.catalog import all_specs, find_spec
from vfexport_core.queue.models import ExportDates
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.settings import Settings


def test_every_type_has_a_golden_file():
    assert {spec.type for spec in all_specs()} | {ALL_MARKETS} == set(CASES) == set(json.loads(FIGURES.read_text()))
    assert all(data.endswith(b"\n") and b"\r\n" not in data for case in CASES for data in golden_files(case).values())


@pytest.fixture
def golden_settings(settings: Settings) -> Settings:
    limits = {"max_rows_per_file": golden.MAX_ROWS_PER_FILE, "sample_rows": golden.SAMPLE_ROWS}
    return settings.model_copy(update=limits)


@pytest.mark.parametrize("indexes", [True, False], ids=["compound index", "default index"])
def test_what_is_delivered_is_what_the_golden_files_say(
    database: Database[Any], golden_settings: Settings, indexes: bool
):
    campaign_id = load(database, golden.BUNDLE, indexes=indexes)
    figures = json.loads(FIGURES.read_text())
    for case in CASES:
        spec = find_spec("entries" if case == ALL_MARKETS else case)
        export = make_export(
            database,
            campaign_id,
            spec.type,
            id=golden.EXPORT_ID,
            date=ExportDates(created=golden.CREATED),
            attempt=2 if case == ALL_MARKETS else 1,
            date_key=DATE_KEY if spec.needs_date_key else None,
            include_all_markets=case == ALL_MARKETS,
        )
        run = Run(database, golden_settings)
        delivered = run(export)
        with BucketClients(golden_settings) as clients:
            in_buckets = InBuckets(clients)
            files = {key: in_buckets.read(spec.bucket, key) for key in delivered.keys}
            metadata = [in_buckets.head(spec.bucket, key)["Metadata"] for key in delivered.keys]
        digests = tuple(hashlib.sha256(data).hexdigest() for data in files.values())
        assert delivered.sha256 == digests == tuple(one["sha256"] for one in metadata)
        assert delivered.bytes == sum(map(len, files.values()))
        assert sum(int(one["row-count"]) for one in metadata) == delivered.rows == figures[case]["rows"]
        assert all((one["export-id"], one["export-type"]) == (export.id, spec.type) for one in metadata)
        assert run.noted == [(delivered.bucket, delivered.keys)]
        assert run.progress[-1][:2] == (delivered.meta["read"], delivered.rows)
        assert by_name(case, files) == golden_files(case), case
        warnings = {name: n for name, n in delivered.meta["warnings"].items() if name != "unknownAdditionalMarket"}
        assert (warnings, delivered.meta["skipped"]) == (figures[case]["warnings"], figures[case]["skipped"]), case


def by_name(case: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files under the names that they have in tests/golden."""
    if case == "autoReminderEmail":
        return files
    ((key, data),) = files.items()
    attempt, export_type = ("-2", "entries") if case == ALL_MARKETS else ("", case)
    extension = find_spec(export_type).extension
    folder = f"000000000000000000000001/{export_type}"
    assert key == f"{folder}/-t-Live-Tour-20240301T123045Z-{golden.EXPORT_ID}{attempt}.{extension}"
    return unzipped(data) if extension == "zip" else {"": data}


@pytest.mark.parametrize(
    ("kind", "artist", "expected"),
    [
        ("fanclub", {"name": "The Band", "fanClubName": "Army"}, "The Band Army"),
        ("fanclub", {"name": "The Band", "fanClubName": "Friends of The Band"}, "Friends of The Band"),
        ("fanclub", {"name": "The Band"}, "The Band"),
        ("fanclub", {"name": "The Band", "fanClubName": ""}, "The Band"),
        ("fanclub", {"name": "The Band", "fanClubName": "the band"}, "The Band the band"),
        ("standard", {"name": "The Band", "fanClubName": "Army"}, "The Band"),
        ("fanclub", {"name": 123, "fanClubName": "Club 1234"}, "Club 1234"),
        ("fanclub", ABSENT, ""),
    ],
)
def test_the_artist_is_named_with_the_fan_club(
    database: Database[Any], settings: Settings, kind: str, artist: Any, expected: str
):
    campaign = make_campaign(type=kind, artist=ABSENT) | ({} if artist is ABSENT else {"artist": artist})
    bundle = Campaign(campaign, [make_market()], [make_user(1)], [make_entry(1)], [make_scoring(1)])
    exported = run_pipeline(database, load(database, bundle), "reminderEmailSample", settings)
    header, row = (line.split(",") for line in exported.files[""].decode().splitlines())
    assert row[header.index("ArtistName")] == expected
