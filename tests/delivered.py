"""Runs exports into the embedded S3 without a queue, and looks at what is in the buckets."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from tests.strategies.loading import COLLECTIONS
from vfexport_core.catalog import find_spec
from vfexport_core.embedded.synthetic import create_source_indexes
from vfexport_core.pipeline.run import run_export
from vfexport_core.queue.models import Delivered, Export, ExportDates, ExportStatus
from vfexport_core.sources.campaigns import find_campaign
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from pymongo.database import Database

    from tests.reference import Campaign
    from vfexport_core.settings import Settings

BUCKETS = ("exportsS3", "scoringS3", "vfScoringS3", "sfmcS3")


def load(database: Database[Any], bundle: Campaign, *, indexes: bool = True) -> str:
    """Put a hand-made campaign (plain documents) into an empty database and give its id."""
    if indexes:
        create_source_indexes(database)
    for field_name, collection in COLLECTIONS.items():
        documents = [dict(document) for document in getattr(bundle, field_name)]  # insert_many adds to them
        if documents:
            database[collection].insert_many(documents)
        elif collection not in database.list_collection_names():
            database.create_collection(collection)
    database["campaigns"].insert_one(dict(bundle.campaign))
    return str(bundle.campaign["_id"])


def make_export(database: Database[Any], campaign_id: str, export_type: str, **fields: Any) -> Export:
    """Make an export as a run finds it; only what is given differs from a plain first attempt."""
    defaults: dict[str, Any] = {
        "id": str(ObjectId()),
        "campaign_name": find_campaign(database, campaign_id)["name"],
        "status": ExportStatus.TRIGGERED,
        "requester_user_id": "5f0000000000000000000001",
        "correlation_id": "test-1",
        "source": "api",
        "date": ExportDates(created=datetime(2024, 3, 1, 12, 30, 45, tzinfo=UTC)),
        "attempt": 1,
        "run_id": "run-1",
    }
    return Export(campaign_id=campaign_id, export_type=export_type, **defaults | fields)


@dataclass
class Unclaimed:
    """An attempt without a queue: it keeps what it is told; `fence` is what is called to check it."""

    export: Export
    fence: Callable[[], object] = lambda: None
    progress: list[tuple[int, int, int]] = field(default_factory=list)
    noted: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    is_drained: bool = True
    expected: int | None = None

    def report_progress(self, read: int, rows: int, size: int) -> None:
        self.progress.append((read, rows, size))

    def is_taken(self, keys: Collection[str]) -> bool:
        return not self.taken.isdisjoint(keys)

    def note_keys(self, bucket: str, keys: tuple[str, ...]) -> None:
        self.noted.append((bucket, keys))

    def check_fence(self) -> None:
        self.fence()

    def requeue(self) -> None:
        raise AssertionError("no deletion was asked for")

    def note_undrained(self) -> None:
        self.is_drained = False


@dataclass
class Run:
    """Runs exports; `check_fence` is the fence. What the attempts are told is kept."""

    database: Database[Any]
    settings: Settings
    check_fence: Callable[[], None] = lambda: None
    progress: list[tuple[int, int, int]] = field(default_factory=list)
    noted: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def __call__(self, export: Export) -> Delivered:
        attempt = Unclaimed(export, self.check_fence, self.progress, self.noted)
        with BucketClients(self.settings) as buckets:
            store = buckets.store(find_spec(export.export_type).bucket)
            return run_export(attempt, settings=self.settings, database=self.database, store=store)


@dataclass
class InBuckets:
    """What is in the test's buckets, looked at with the clients of `settings`."""

    clients: BucketClients

    def objects(self) -> list[tuple[str, str]]:
        """Return (bucket of the catalog, key) of every object."""
        return [(bucket, item["Key"]) for bucket, item in self._listed("list_objects_v2", "Contents")]

    def everything(self) -> list[tuple[str, str]]:
        """Return objects and unfinished uploads."""
        uploads = self._listed("list_multipart_uploads", "Uploads")
        return [*self.objects(), *((bucket, item["Key"]) for bucket, item in uploads)]

    def read(self, bucket: str, key: str) -> bytes:
        target = self.clients.bucket(bucket)
        with target.client.get_object(Bucket=target.name, Key=key)["Body"] as body:
            return body.read()

    def head(self, bucket: str, key: str) -> dict[str, Any]:
        target = self.clients.bucket(bucket)
        return target.client.head_object(Bucket=target.name, Key=key)

    def _listed(self, operation: str, part: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for bucket in BUCKETS:
            target = self.clients.bucket(bucket)
            for item in getattr(target.client, operation)(Bucket=target.name).get(part, []):
                yield bucket, item


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}
