"""Deletions beside exports of the same campaigns, by several processes one of which is killed.

Afterwards no file of a deletable type has a row of a user, unless it was requested after that user's last deletion.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from tests.api_client import wait_for
from tests.builders import object_id
from tests.ccpa import KEPT_TYPES, Service, names_person, running_service
from tests.processes import forked
from tests.reaping import reap
from vfexport_core.catalog import all_specs
from vfexport_core.ccpa.hashing import UserHasher
from vfexport_core.errors import DeleteFailed, VfexportError
from vfexport_core.queue.models import Export, ExportStatus
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess
    from multiprocessing.synchronize import Event

    from pymongo.database import Database

    from vfexport_core.settings import Settings

pytestmark = pytest.mark.timeout(900)

TYPES = [spec.type for spec in all_specs()]
DELETED_TYPES = [spec.type for spec in all_specs() if spec.ccpa_deletes]
FANS = (1, 2)
ROUNDS = 6
EXPORTING_PROCESSES = 3
# Long enough for what a killed process had sent, short enough for a test.
SETTLE_SECONDS = 2.0
END_SECONDS = 240


@contextmanager
def service_of(settings: Settings) -> Iterator[Service]:
    uri = settings.mongo_uri.get_secret_value()
    with MongoClient[dict[str, Any]](uri, tz_aware=True) as client, BucketClients(settings) as buckets:
        yield Service(settings, client[settings.mongo_database], buckets, grace_seconds=SETTLE_SECONDS, skew_seconds=0)


def export_until(stop: Event, settings: Settings, campaigns: list[str], first: int, last: list[str]) -> None:
    """Request and run one type after the other, whatever becomes of it; when told to stop, the last ones once more."""
    with service_of(settings) as service:
        turns = itertools.cycle(TYPES[first:] + TYPES[:first])
        campaign = itertools.cycle(campaigns)
        while not stop.is_set():
            with suppress(VfexportError):
                service.run(service.request(next(campaign), next(turns)))
        for export_type in last:
            with suppress(VfexportError):
                service.run(service.request(next(campaign), export_type))


def delete_often(settings: Settings, fans: list[int]) -> None:
    """Have users deleted; what is not complete is left to the service."""
    with service_of(settings) as service:
        for fan in fans:
            with suppress(DeleteFailed):
                service.delete(str(object_id(fan)), seconds=5)


@pytest.fixture
def service(settings: Settings, database: Database[dict[str, Any]]) -> Iterator[Service]:
    with running_service(settings, database) as service:
        target = service.buckets.bucket("exportsS3")
        target.client.put_bucket_versioning(Bucket=target.name, VersioningConfiguration={"Status": "Enabled"})
        yield service


def versions(service: Service, bucket: str) -> dict[str, list[bytes]]:
    """Return the contents of every version of every file of a bucket, by key."""
    target = service.buckets.bucket(bucket)
    found: dict[str, list[bytes]] = {}
    for page in target.client.get_paginator("list_object_versions").paginate(Bucket=target.name):
        assert "DeleteMarkers" not in page
        for version in page.get("Versions", []):
            place = {"Bucket": target.name, "Key": version["Key"], "VersionId": version["VersionId"]}
            found.setdefault(version["Key"], []).append(service.read(place))
    return found


def run_processes(service: Service, campaigns: list[str]) -> None:
    """Have exports and deletions run beside each other; kill a process of exports in the middle."""
    context = forked()
    stop = context.Event()
    settings = service.settings.model_copy(update={"mongo_database": service.database.name})
    # The first one is killed; the others share the types that are exported in the end.
    last = [[], *(TYPES[number :: EXPORTING_PROCESSES - 1] for number in range(EXPORTING_PROCESSES - 1))]
    exporting = [
        context.Process(target=export_until, args=(stop, settings, campaigns, 5 * number, last[number]), daemon=True)
        for number in range(EXPORTING_PROCESSES)
    ]
    deleting = [
        context.Process(target=delete_often, args=(settings, [*fans] * (ROUNDS // 2)), daemon=True)
        for fans in (FANS, FANS[::-1])
    ]
    everybody: list[BaseProcess] = [*exporting, *deleting]
    records, exports = service.database["ccpaDeletions"], service.database["exports"]
    try:
        for process in exporting:
            process.start()
        wait_for(lambda: exports.count_documents({"status": "FINISHED"}) > len(TYPES), END_SECONDS)
        for process in deleting:
            process.start()
        wait_for(lambda: sum(record["requests"] for record in records.find()) >= ROUNDS // 2, END_SECONDS)
        exporting[0].kill()
        exporting[0].join()
        # What it held blocks the queue until its lease is over: no deletion takes back a type that is kept.
        held = {"status": "TRIGGERED", "runId": {"$regex": f"^run-{exporting[0].pid}-"}}
        exports.update_one(held, [{"$set": {"leaseUntil": {"$subtract": ["$$NOW", 1_000]}}}])
        service.store.reaper.reap(service.settings.timeout_millis)
        for process in deleting:
            process.join(END_SECONDS)
        stop.set()
        for process in exporting:
            process.join(END_SECONDS)
    finally:
        for process in everybody:
            process.kill()
            process.join()
    assert [process.exitcode for process in everybody[1:]] == [0] * (len(everybody) - 1)


def last_deletions(service: Service) -> dict[int, Any]:
    """Return when the last deletion of each fan was complete."""
    hasher = UserHasher.from_settings(service.settings)
    last = {}
    for fan in FANS:
        found = list(service.database["ccpaDeletions"].find({"userHash": hasher.hash(str(object_id(fan)))}))
        assert sum(record["requests"] for record in found) >= ROUNDS
        last[fan] = max(record["date"]["completed"] for record in found)
    return last


def test_deletions_and_exports_run_beside_each_other(service: Service) -> None:
    campaigns = [service.add_full_campaign(number) for number in (50, 51)]
    aside = service.add_full_campaign(52)
    before = [service.exported(campaigns[0], export_type) for export_type in TYPES]
    delivered = service.exported(aside)
    waiting = [
        service.store.retry(delivered.id, redeliver=True),
        service.request(aside, "codes"),
        service.request(aside, "scoring"),
    ]
    run_processes(service, campaigns)
    reap(service.store, lambda: service.buckets, service.settings.timeout_millis, grace_seconds=0)
    service.grace_seconds = 0
    assert service.heal_now().left == ()
    for export in service.store.list(status=ExportStatus.PENDING, limit=200):
        if export.campaign_id != aside:
            service.run(export)
    last = last_deletions(service)
    exports = [Export.from_document(document) for document in service.database["exports"].find()]
    by_key = {key: export for export in exports for key in export.keys}
    seen_types: set[str] = set()
    for bucket in ("exportsS3", "scoringS3", "vfScoringS3", "sfmcS3"):
        for key, contents in versions(service, bucket).items():
            export = by_key[key]  # a file without a document would be half-forgotten
            seen_types.add(export.export_type)
            for fan, completed in last.items():
                named = any(names_person(data, fan) for data in contents)
                may_be = export.export_type in KEPT_TYPES or export.date.created > completed
                assert may_be or not named, (export.export_type, key, fan)
    assert seen_types == set(TYPES), "each was exported after the last deletion had begun"
    kept = {export.id: export for export in exports}
    for export in before:
        assert (export.id in kept) is (export.export_type in KEPT_TYPES)
    for export in waiting:
        assert (kept[export.id].status, kept[export.id].attempt) == (ExportStatus.PENDING, export.attempt)
    assert delivered.keys[0] not in {key for _, key in service.files()}
    totals = [record["deletedCount"] for record in service.database["ccpaDeletions"].find()]
    assert sum(total["exports"] for total in totals) > len(DELETED_TYPES), "some of those that ran meanwhile, too"
    service.let_clocks_agree()
    after = [service.exported(campaigns[0], export_type) for export_type in ("entries", "codes")]
    files = service.files()
    assert all(names_person(data) for (_, key), data in files.items() if key in {after[0].keys[0], after[1].keys[0]})
