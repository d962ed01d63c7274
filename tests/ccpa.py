"""A service with campaigns, exports and files, for tests of what deleting a user's data leaves."""

from __future__ import annotations

import io
import itertools
import os
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bson import ObjectId, json_util

from tests.builders import make_campaign, make_code, make_entry, make_market, make_scoring, make_user, object_id
from tests.delivered import BUCKETS, InBuckets
from tests.integration.queue_helpers import new_export
from vfexport_core.catalog import find_spec
from vfexport_core.ccpa.deletion_attempt import DeletionTools
from vfexport_core.ccpa.file_index import FileIndex
from vfexport_core.ccpa.hashing import UserHasher
from vfexport_core.ccpa.person_keys import people_of
from vfexport_core.ccpa.repository import DeletionRepository
from vfexport_core.embedded.synthetic import create_source_indexes
from vfexport_core.mongo.own_collections import CLOCK_SKEW_SECONDS
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.queue.audit import Actor
from vfexport_core.queue.reaper import CLEANUP_GRACE_SECONDS
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.delete_user import delete_user, resume_deletions
from vfexport_core.services.initialise import initialise
from vfexport_core.services.run_attempt import run_claimed
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pymongo.database import Database

    from vfexport_core.ccpa.records import Deletion
    from vfexport_core.queue.models import Export
    from vfexport_core.services.delete_user import Resumed
    from vfexport_core.settings import Settings

FANS = range(1, 4)
PERSON = 1
USER_ID = str(object_id(PERSON))
DELETED_TYPES = ("entries", "codes", "fanlist", "waitlist", "reminderEmail", "artistOptIn")
KEPT_TYPES = ("scoring", "verifiedEntries", "autoReminderEmail")


@dataclass
class Service:
    """Everything that runs, over one database and one set of buckets."""

    settings: Settings
    database: Database[dict[str, Any]]
    buckets: BucketClients
    grace_seconds: float = CLEANUP_GRACE_SECONDS
    skew_seconds: float = CLOCK_SKEW_SECONDS
    patience_seconds: float = 5.0
    _runs: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        limits = RetryLimits(self.patience_seconds)
        self.store = ExportRepository(self.database, limits)
        self.deletions = DeletionRepository(self.database, limits)
        self.file_index = FileIndex(self.database, limits)

    def initialise(self) -> None:
        initialise(self.database)
        create_source_indexes(self.database)

    @property
    def deletion_tools(self) -> DeletionTools:
        return DeletionTools(
            settings=self.settings,
            database=self.database,
            queue=self.store,
            buckets=self.buckets,
            deletions=self.deletions,
            file_index=self.file_index,
            grace_seconds=self.grace_seconds,
            skew_seconds=self.skew_seconds,
        )

    def delete(self, user_id: str = USER_ID, **options: Any) -> Deletion:
        return delete_user(self.deletion_tools, user_id, by=Actor("supreme-1", "api", "ccpa-1"), **options)

    def open_record(self, user_id: str = USER_ID) -> str:
        """Leave a record as a request leaves it that got no further."""
        hasher = UserHasher.from_settings(self.settings)
        people = people_of(self.settings, user_id)
        joined = self.deletions.request(hasher.hash(user_id), hasher.key_check, people, "supreme-1", "ccpa-1")
        return joined.record_id

    def resume(self, **options: Any) -> Resumed:
        """Take open deletions up again whose turn it is."""
        return resume_deletions(self.deletion_tools, **options)

    def heal_now(self) -> Resumed:
        """Take open deletions up again, as if their rest was over and nobody worked on them."""
        self.let_time_go_by()
        return self.resume()

    def let_time_go_by(self) -> None:
        """End the rest of all open deletions, and every worker's hold on them."""
        past = self.database["ccpaDeletions"]
        long_ago = {"$set": {"date.tried": {"$subtract": ["$$NOW", 10_000_000]}}}
        past.update_many({"status": "OPEN"}, [long_ago, {"$unset": ["leaseUntil", "leaseId"]}])
        past.update_many({"status": "OPEN"}, [{"$set": {"date.requested": {"$subtract": ["$$NOW", 10_000_000]}}}])

    def let_clocks_agree(self) -> None:
        """Have the completed deletions be as old as no two clocks are apart."""
        earlier = {"$subtract": ["$date.completed", 2_000 * CLOCK_SKEW_SECONDS]}
        change = [{"$set": {"date.completed": earlier}}]
        self.database["ccpaDeletions"].update_many({"status": "COMPLETE"}, change)

    def add_campaign(self, number: int, *, entries: Any = FANS, scored: Any = FANS) -> str:
        """Load a campaign: fans with entries, others (or the same) with scoring records and codes."""
        self.database["campaigns"].insert_one(make_campaign(number, name=f"Tour {number}"))
        self.database["markets"].insert_one(make_market(1_000 + number, number))
        self._insert("entries", [make_entry(fan, number, fields=_opted_in(number)) for fan in entries])
        self._insert("scoring", [_scoring(number, fan) for fan in scored])
        self._insert("codes", [_code(number, fan) for fan in scored])
        for fan in {*entries, *scored}:
            user = make_user(fan)
            self.database["users"].replace_one({"_id": user["_id"]}, user, upsert=True)
        return str(object_id(number))

    def add_full_campaign(self, number: int = 50) -> str:
        """Load a campaign in which every type has rows, with the person among them."""
        campaign = self.add_campaign(number)
        self.database["promoters"].replace_one({"_id": "p1"}, {"_id": "p1", "name": "Promoter"}, upsert=True)
        fields = {"fields.allowSms": True, "fields.allowLiveNation": True, "fields.promoterOptIns": ["p1"]}
        self.database["entries"].update_many({}, {"$set": fields})
        # Half of the scoring records are of fans who were not selected: they are on the waitlist.
        scored = self.database["scoring"].find({"campaignId": campaign})
        self._insert("scoring", [{**record, "_id": ObjectId(), "selected": False} for record in scored])
        return campaign

    def _insert(self, collection: str, documents: list[dict[str, Any]]) -> None:
        if documents:
            self.database[collection].insert_many(documents)

    def request(self, campaign_id: str, export_type: str = "entries") -> Export:
        date_key = "1700000000000" if find_spec(export_type).needs_date_key else None
        return self.store.request(new_export(campaign_id=campaign_id, export_type=export_type, date_key=date_key))[0]

    def run(self, export: Export) -> Export:
        """Run a PENDING export to its end."""
        claim, claimed = self.store.claim(export.id, f"run-{os.getpid()}-{next(self._runs)}")
        backend = Backend(self.settings, database=self.database, queue=self.store, buckets=self.buckets)
        return run_claimed(claim, claimed, backend, on_count=lambda _: None, on_progress=lambda *_: None)

    def exported(self, campaign_id: str, export_type: str = "entries") -> Export:
        return self.run(self.request(campaign_id, export_type))

    def files(self) -> dict[tuple[str, str], bytes]:
        """Return all objects, with what is in them: archives as their files, one after the other."""
        inside = InBuckets(self.buckets)
        return {name: _contents(inside.read(*name)) for name in inside.objects()}

    def read(self, place: dict[str, str]) -> bytes:
        """Return what is in an object, or in a version of it; an archive as its files, one after the other."""
        client = self.buckets.bucket("exportsS3").client
        with client.get_object(**place)["Body"] as body:
            return _contents(body.read())

    def everything(self) -> list[tuple[str, str]]:
        """Return all there is in the buckets: objects, their versions and delete markers, unfinished uploads."""
        return [(bucket, key) for bucket in BUCKETS for key in self.there(bucket)]

    def there(self, bucket: str) -> list[str]:
        """Return the keys of all there is in one bucket; one that has several versions comes as often."""
        target = self.buckets.bucket(bucket)
        page, uploads = target.call("list_object_versions", {}), target.call("list_multipart_uploads", {})
        parts = [*page.get("Versions", []), *page.get("DeleteMarkers", []), *uploads.get("Uploads", [])]
        return [part["Key"] for part in parts]

    def record(self, number: int = 0) -> dict[str, Any]:
        return list(self.database["ccpaDeletions"].find().sort("_id", 1))[number]

    def stored_text(self) -> str:
        """Return all that our own collections hold, as text."""
        return json_util.dumps([list(self.database[name].find()) for name in ("exports", "ccpaDeletions")])


@contextmanager
def running_service(settings: Settings, database: Database[dict[str, Any]]) -> Generator[Service]:
    """Return a service with empty collections and clients of its own."""
    with BucketClients(settings) as buckets:
        service = Service(settings, database, buckets)
        service.initialise()
        yield service


def names_person(data: bytes, fan: int = PERSON) -> bool:
    """Return whether a file has a row of a fan, by anything that names one."""
    marks = [str(object_id(fan)), f"fan{fan}@example.com", f"512555{fan:04}", f"m{fan},", f",m{fan}", f"CODE-{fan}-"]
    return any(mark.encode() in data for mark in marks)


def _opted_in(number: int) -> dict[str, Any]:
    return {"allowMarketing": True, "market": str(object_id(1_000 + number))}


def _scoring(number: int, fan: int) -> dict[str, Any]:
    market = str(object_id(1_000 + number))
    codes = [{"id": f"CODE-{fan}-{number}", "marketId": market}]
    return make_scoring(100 * number + fan, fan, number, marketId=market, codes=codes, _id=ObjectId())


def _code(number: int, fan: int) -> dict[str, Any]:
    return make_code(f"C{number}-{fan}", fan, number, marketId=str(object_id(1_000 + number)))


def _contents(data: bytes) -> bytes:
    if not data.startswith(b"PK"):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())
