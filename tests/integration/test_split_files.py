"""Many files of one export: 200 promoters, 40 locales, small buffers; all can read them, and nothing is left behind."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import zlib
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.api_client import wait_for
from tests.builders import make_campaign, make_entry, make_market, make_promoter, make_scoring, make_user
from tests.delivered import InBuckets, Run, load, make_export, unzipped
from tests.reference import Campaign, export
from tests.zip_reader import java_stream, read_stream
from vfexport_core.errors import SpoolFull
from vfexport_core.files.spool import Spool
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.settings import Settings

FANS = 120
PROMOTERS = 200
NAMES = {7: "../../etc/passwd", 8: "/etc/passwd", 9: "..", 10: "Same", 11: "Same", 12: "same", 13: "日本 & Co.", 14: ""}
# The SFMC table makes en-mx and en-ie two others of them: 46 files.
LOCALES = [f"{language}-{territory}" for language in ("en", "fr", "de", "es", "日本", "pt") for territory in
           ("us", "CA", "mx", "GB", "ie", "DE", "jp", "AU")]  # fmt: skip


def bundle() -> Campaign:
    fans = range(1, FANS + 1)
    ids = [f"p{number}" for number in range(PROMOTERS)]
    return Campaign(
        make_campaign(promoterIds=ids),
        [make_market()],
        [make_user(number) for number in fans],
        [
            make_entry(number, fields={"promoterOptIns": ids[number % 5 :: 1 + number % 9]}, origin={"ip": None})
            for number in fans
        ],
        [make_scoring(number, locale=LOCALES[number % len(LOCALES)], countryCode=None) for number in fans],
        [],
        [],
        [make_promoter(key, name=NAMES.get(number, f"Promoter {number}")) for number, key in enumerate(ids)],
    )


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Spool.__init__.__kwdefaults__, "buffer_bytes", 2_000)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize(("export_type", "files"), [("promoterEmailOptIn", PROMOTERS), ("reminderEmail", 46)])
def test_many_members(
    database: Database[Any],
    settings: Settings,
    temporary: Path,
    tmp_path: Path,
    *,
    export_type: str,
    files: int,
):
    campaign = bundle()
    campaign_id = load(database, campaign)
    settings = settings.model_copy(update={"max_rows_per_file": 2})
    delivered = Run(database, settings)(make_export(database, campaign_id, export_type))
    with BucketClients(settings) as clients:
        data = InBuckets(clients).read("exportsS3", delivered.keys[0])
    wanted = export(campaign, export_type, max_rows_per_file=2).files
    assert unzipped(data) == wanted
    assert list(unzipped(data)) == list(wanted), "in their order"
    assert len({name.rpartition("-")[0] for name in wanted} if export_type == "reminderEmail" else wanted) == files
    assert not any(name.startswith("/") or ".." in name.split("/") for name in wanted)
    rest = iter([data])
    entries = read_stream(lambda: next(rest, b""))
    assert {entry.name: b"".join(entry.data) for entry in entries} == wanted
    path = tmp_path / "archive.zip"
    path.write_bytes(data)
    by_java = java_stream(path, tmp_path)
    assert by_java in (None, [(zlib.crc32(content), len(content), name) for name, content in wanted.items()])
    if shutil.which("unzip"):
        done = subprocess.run(["unzip", "-tq", str(path)], capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("small_buffers")
def test_nothing_stays_open_whether_it_ends_well_or_not(database: Database[Any], settings: Settings, temporary: Path):
    campaign_id = load(database, bundle())
    run, process = Run(database, settings), psutil.Process()

    def both() -> None:
        run(make_export(database, campaign_id, "promoterEmailOptIn"))
        run(make_export(database, campaign_id, "autoReminderEmail"))
        with pytest.raises(SpoolFull):
            Run(database, full)(make_export(database, campaign_id, "promoterEmailOptIn"))

    full = settings.model_copy(update={"spool_max_bytes": 10_000})
    both()  # what is opened once and kept is open now
    before, threads = process.num_fds(), process.num_threads()
    for _ in range(3):
        both()
    assert process.num_fds() <= before
    wait_for(lambda: process.num_threads() <= threads)  # a writer's threads end by themselves, a moment later
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("small_buffers")
def test_a_spool_that_is_full_leaves_nothing_in_s3(database: Database[Any], settings: Settings):
    campaign_id = load(database, bundle())
    full = settings.model_copy(update={"spool_max_bytes": 10_000})
    for export_type in ("promoterEmailOptIn", "reminderEmail", "autoReminderEmail"):
        with pytest.raises(SpoolFull, match="10000 bytes"):
            Run(database, full)(make_export(database, campaign_id, export_type))
    with BucketClients(settings) as clients:
        assert InBuckets(clients).everything() == []


def test_the_same_rows_give_the_same_archive(
    database: Database[Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    campaign_id = load(database, bundle())
    digests = set()
    for buffer_bytes in (1, 3_000, 10**7):
        monkeypatch.setitem(Spool.__init__.__kwdefaults__, "buffer_bytes", buffer_bytes)
        digests.add(Run(database, settings)(make_export(database, campaign_id, "promoterEmailOptIn")).sha256)
    assert len(digests) == 1
