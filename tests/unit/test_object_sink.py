"""The files of an attempt in a store, here a folder: they appear together, or nothing of them stays."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.delivered import Unclaimed
from tests.unit.test_local_store import Folder
from vfexport_core.catalog import find_spec
from vfexport_core.errors import DeliveryRefused, LeaseLost
from vfexport_core.files.grouping import PartName
from vfexport_core.pipeline.naming import FileNaming
from vfexport_core.pipeline.object_sink import ObjectSink
from vfexport_core.queue.models import Export, ExportDates, ExportStatus

if TYPE_CHECKING:
    from pathlib import Path

    from vfexport_core.files.containers import FileName

ONE: list[FileName] = [None]
THREE: list[FileName] = [PartName("NA", "en-us", 1), PartName("NA", "en-us", 2), PartName("EU", "fr-fr", 1)]


def attempt_of(export_type: str, number: int = 1) -> Unclaimed:
    return Unclaimed(
        Export(
            id="65f000000000000000000001",
            campaign_id="65f000000000000000000002",
            campaign_name="Tour",
            export_type=export_type,
            status=ExportStatus.TRIGGERED,
            requester_user_id="u",
            correlation_id="c",
            source="api",
            attempt=number,
            date=ExportDates(created=datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        )
    )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def sink_of(folder: Folder, attempt: Unclaimed) -> ObjectSink:
    spec = find_spec(attempt.export.export_type)
    return ObjectSink(folder.store, FileNaming(spec=spec, export=attempt.export, artist="Artist", prefixes={}), attempt)


def write(sink: ObjectSink, files: list[FileName]) -> None:
    sink.begin(files)
    for number, file in enumerate(files):
        sink.open(file)
        sink.write(b"header\n")
        sink.write(b"%d\n" % number)
        sink.end()


@pytest.mark.parametrize(("export_type", "files"), [("entries", ONE), ("autoReminderEmail", THREE)])
def test_files_appear_when_they_are_published_and_say_what_they_hold(
    folder: Folder, export_type: str, files: list[FileName]
) -> None:
    attempt = attempt_of(export_type)
    checked: list[int] = []
    attempt.fence = lambda: checked.append(len([key for key in folder.objects() if not key.startswith("_staging/")]))
    with sink_of(folder, attempt) as sink:
        write(sink, files)
        assert all(key.startswith("_staging/") for key in folder.objects())
        sink.publish({file: 10 + number for number, file in enumerate(files)})
    assert folder.objects() == sorted(sink.keys.values())
    assert checked == [*range(len(files))], "the fence is checked before each of them"
    assert attempt.noted == [(folder.store.name, tuple(sink.keys.values()))]
    contents = [b"header\n%d\n" % number for number in range(len(files))]
    assert [folder.read(key) for key in sink.keys.values()] == contents
    assert sink.sha256 == tuple(hashlib.sha256(content).hexdigest() for content in contents)
    assert sink.bytes_written == sum(map(len, contents))
    for number, key in enumerate(sink.keys.values()):
        metadata = folder.metadata(key)
        assert metadata["row-count"] == str(10 + number)
        assert (metadata["export-id"], metadata["export-type"]) == (attempt.export.id, export_type)


@pytest.mark.parametrize("lost_at", range(3))
def test_of_several_files_none_stays_when_the_fence_is_lost_in_between(folder: Folder, lost_at: int) -> None:
    attempt, checks = attempt_of("autoReminderEmail"), 0

    def check_fence() -> None:
        nonlocal checks
        checks += 1
        if checks > lost_at:
            raise LeaseLost("taken over")

    attempt.fence = check_fence
    with sink_of(folder, attempt) as sink:
        write(sink, THREE)
        with pytest.raises(LeaseLost):
            sink.publish(dict.fromkeys(THREE, 1))
    assert folder.objects() == []


def test_of_several_files_none_stays_when_another_has_the_key_of_one(folder: Folder) -> None:
    attempt = attempt_of("autoReminderEmail")
    with sink_of(folder, attempt) as sink:
        write(sink, THREE)
        last = sink.keys[THREE[-1]]
        folder.put(last, b"another's", "65f0000000000000000000ff")
        with pytest.raises(DeliveryRefused):
            sink.publish(dict.fromkeys(THREE, 1))
    assert folder.objects() == [last]
    assert folder.read(last) == b"another's"


def test_what_is_left_without_publishing_leaves_nothing(folder: Folder) -> None:
    with sink_of(folder, attempt_of("autoReminderEmail")) as sink:
        write(sink, THREE)
    assert folder.objects() == []


def test_keys_are_noted_before_anything_is_sent(folder: Folder) -> None:
    attempt = attempt_of("entries")
    with sink_of(folder, attempt) as sink:
        sink.begin(ONE)
        assert (attempt.noted, folder.objects()) == ([(folder.store.name, tuple(sink.keys.values()))], [])


def test_keys_that_another_export_of_the_minute_has_noted_are_not_taken(folder: Folder) -> None:
    attempt = attempt_of("autoReminderEmail")
    with sink_of(folder, attempt) as sink:
        sink.begin(THREE)
        attempt.taken = {sink.keys[THREE[0]]}
    with sink_of(folder, attempt) as sink:
        sink.begin(THREE)
        assert attempt.taken.isdisjoint(sink.keys.values())
        assert all(attempt.export.id in key for key in sink.keys.values())
