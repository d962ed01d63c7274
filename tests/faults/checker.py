"""What must be true after every scenario, whatever happened in it: one checker over MongoDB, S3 and processes.

::

    with History(database) as history:
        checker = Checker(database, settings, history, next_campaign=campaign_id)
        ...                                          # the scenario; `settings` reach S3 directly
        checker.assert_all_well([export.id, ...])    # every request that was acknowledged

Where exports are run otherwise than by the checker itself (by the orchestrator): `run_next` has one run, `staying` are
processes that may stay, `beyond` is what else to check.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from tests.api_client import wait_for
from tests.delivered import BUCKETS, unzipped
from tests.integration.queue_helpers import new_export
from tests.pipeline import bundle_of, expected
from tests.reaping import reap
from vfexport_core.catalog import find_spec
from vfexport_core.catalog.spec import Container
from vfexport_core.queue.models import FINAL, ExportStatus
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.run_attempt import run_claimed
from vfexport_core.settings import PREFIX
from vfexport_core.storage.buckets import BucketClients
from vfexport_core.storage.object_keys import probe_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from pymongo.database import Database

    from tests.faults.history import History
    from vfexport_core.queue.models import Export
    from vfexport_core.settings import Settings

DATABASE_VARIABLE = f"{PREFIX}MONGO_DATABASE"
PROCESS_SECONDS = 60
CLEANING_SECONDS = 60
Place = tuple[str, str]


@dataclass
class Checker:
    """See the module. `next_campaign` is one of which the queue must still be able to export the entries."""

    database: Database[dict[str, Any]]
    settings: Settings
    history: History
    next_campaign: str
    run_next: Callable[[str], str] | None = None
    """Has the entries of a campaign exported, waits for the end and gives the export's id; by itself if None."""
    staying: Callable[[], Collection[int]] = tuple
    beyond: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ExportRepository(self.database, lease_seconds=self.settings.lease_seconds)
        self._references: dict[Any, Any] = {}

    def assert_all_well(self, acknowledged: Iterable[str], *, next_one: str | None = None) -> None:
        """Check everything; `acknowledged` are the ids of all exports that somebody was given.

        `next_one` is the one of them that shows that the queue goes on; without it, one more is asked for.
        """
        asked = [*acknowledged]
        self.assert_ended(asked)
        if next_one is None:
            next_one = (self.run_next or self.run_export)(self.next_campaign)
            asked.append(next_one)
            self.assert_ended(asked)
        assert self.store.get(next_one).status is ExportStatus.FINISHED, "the queue takes the next export"
        unknown = {str(document["_id"]) for document in self.database.exports.find({}, {"_id": 1})} - set(asked)
        assert not unknown, f"exports that nobody asked for: {unknown}"
        self.history.assert_lawful()
        wait_for(lambda: not self.left_processes(), PROCESS_SECONDS)
        with BucketClients(self.settings) as buckets:
            self.clean(buckets)
            self.assert_files(buckets)
        for check in self.beyond:
            check()

    def assert_ended(self, export_ids: Iterable[str]) -> None:
        """Every export ended, each of its attempts exactly once: by its document, and by what really happened."""
        self.history.read()
        for export_id in export_ids:
            export = self.store.get(export_id)
            assert export.status in FINAL, export
            attempts = [(attempt.attempt, attempt.status) for attempt in export.attempts]
            assert [number for number, _ in attempts] == [*range(1, export.attempt + 1)], attempts
            assert attempts[-1][1] is export.status, export
            assert all(attempt.ended is not None for attempt in export.attempts), export
            happened = [(state.attempt, state.status) for state in self.history.ends(export_id)]
            assert happened == attempts, "what the document remembers is what happened, and it happened once"

    def clean(self, buckets: BucketClients) -> None:
        """Let the service clean up as it does once nothing can be under way any more; it must succeed."""
        # Again and again: a reaper of the service's own may come in between, and put off what it has just looked at.
        wait_for(lambda: self._is_clean(buckets), CLEANING_SECONDS)

    def _is_clean(self, buckets: BucketClients) -> bool:
        ended = {"$dateSubtract": {"startDate": "$$NOW", "unit": "hour", "amount": 1}}
        self.database.exports.update_many({"cleanupDue": {"$exists": True}}, [{"$set": {"cleanupDue": ended}}])
        seen = reap(self.store, lambda: buckets, self.settings.timeout_millis, grace_seconds=0)
        assert seen.problems == ()
        attempts = [attempt for export in self.store.list(limit=1_000) for attempt in export.attempts]
        return all(attempt.cleaned for attempt in attempts if attempt.is_lost and attempt.keys)

    def assert_files(self, buckets: BucketClients) -> None:
        """The buckets hold what FINISHED attempts delivered, in one version each, and it is right (L7, L10)."""
        targets = {target.name: target.client for target in map(buckets.bucket, BUCKETS)}
        uploads = [place for name in targets for place in _listed(targets[name], name, "list_multipart_uploads")]
        assert not uploads, f"unfinished uploads: {uploads}"
        exports = self.store.list(limit=1_000)
        delivered = {
            (attempt.bucket, key)
            for export in exports
            for attempt in export.attempts
            if attempt.status is ExportStatus.FINISHED
            for key in attempt.keys
        }
        found = Counter(place for name in targets for place in _listed(targets[name], name, "list_object_versions"))
        # A probe that was given up may still reach the store late; it is empty, and goes with the next probe.
        left = {place for place in found.keys() - delivered if place[1] != probe_key("write")}
        assert not left, f"without an export: {left}"
        assert set(found.values()) <= {1}, f"several versions: {found}"
        for export in exports:
            if export.status is ExportStatus.FINISHED:
                self._assert_delivered(export, targets[export.bucket or ""])

    def _assert_delivered(self, export: Export, client: Any) -> None:
        files = []
        for key in export.keys:
            with (answer := client.get_object(Bucket=export.bucket, Key=key))["Body"] as body:
                files.append(body.read())
            digest = hashlib.sha256(files[-1]).hexdigest()
            assert digest == export.sha256[key] == answer["Metadata"]["sha256"], key
        assert sum(map(len, files)) == export.bytes, export
        reference = self._reference(export)
        assert export.count == reference.rows, export
        if find_spec(export.export_type).shape.container is Container.ZIP:
            right = unzipped(files[0]) == reference.files
        else:
            right = files == [data for _, data in sorted(reference.files.items())]
        assert right, f"{export.export_type} of {export.id} is not what the reference makes"

    def _reference(self, export: Export) -> Any:
        """Export by the independent reference; a scenario does not change what is exported."""
        which = (export.campaign_id, export.export_type, export.date_key, export.include_all_markets)
        if which not in self._references:
            self._references[which] = expected(
                bundle_of(self.database, export.campaign_id),
                export.export_type,
                date_key=export.date_key,
                include_all_markets=export.include_all_markets,
                max_rows_per_file=self.settings.max_rows_per_file,
                sample_rows=self.settings.sample_rows,
            )
        return self._references[which]

    def run_export(self, campaign_id: str, export_type: str = "entries") -> str:
        """Export in this process, by the rules of the queue; gives the export's id."""
        export, created = self.store.request(new_export(campaign_id=campaign_id, export_type=export_type))
        assert created, "nothing of the scenario is active any more"
        return self.take_up(export.id)

    def run_again(self, export_id: str) -> str:
        """Retry an export that was lost, and run it."""
        return self.take_up(self.store.retry(export_id).id)

    def take_up(self, export_id: str) -> str:
        claim, claimed = self.store.claim(export_id, f"next-{uuid.uuid4()}")
        with BucketClients(self.settings) as buckets:
            backend = Backend(self.settings, database=self.database, queue=self.store, buckets=buckets)
            run_claimed(claim, claimed, backend, on_count=lambda _: None, on_progress=lambda *_: None)
        return export_id

    def left_processes(self) -> list[int]:
        """Return the processes that were started for this test's database and are still there."""
        found: list[int] = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(DATABASE_VARIABLE) == self.database.name
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return sorted({*found} - {os.getpid(), *self.staying()})


def _listed(client: Any, bucket: str, operation: str) -> Iterator[Place]:
    """Return bucket and key of every upload, version or delete marker."""
    page = getattr(client, operation)(Bucket=bucket)
    assert not page.get("IsTruncated"), "a scenario has few files"
    for part in ("Uploads", "Versions", "DeleteMarkers"):
        for item in page.get(part, []):
            yield bucket, item["Key"]
