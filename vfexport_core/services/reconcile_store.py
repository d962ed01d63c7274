"""Where the export documents and the buckets differ: files that are missing or altered, objects that nobody recorded.

The buckets are listed before the documents are read, and each difference is looked at once more before it is told: an
export that ends, or is deleted, meanwhile is none. A file that a document records is never deleted here: that it is
missing or altered is noted on the document, where callers see it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from vfexport_core.catalog import all_specs
from vfexport_core.errors import ExportNotFound
from vfexport_core.mongo.own_collections import EXPORTS
from vfexport_core.mongo.retry import DEFAULT_LIMITS, with_retries
from vfexport_core.queue.audit import AuditAction
from vfexport_core.queue.models import ACTIVE, ExportStatus, FileProblem
from vfexport_core.storage.object_keys import STAGING_FOLDER, probe_key
from vfexport_core.storage.s3.inventory import describe, stored_objects
from vfexport_core.telemetry.threads import at_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vfexport_core.queue.audit import Actor
    from vfexport_core.queue.models import Export
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.storage.buckets import BucketClients
    from vfexport_core.storage.s3.inventory import ObjectDescription, StoredObject

UNKNOWN_HOURS = 24.0
"""What is younger may be of an attempt that runs: none may take longer than a day."""

_PAGE = 200
# Keys of one file; parts for SFMC, whatever the prefix of their region; what was never published.
_TYPES = "|".join(re.escape(spec.type) for spec in all_specs())
_OURS = re.compile(
    rf"[0-9a-f]{{24}}/(?:{_TYPES})/|.*_[0-9a-f]{{24}}_[0-9]{{12}}[^/]*_[0-9]{{3,}}\.[a-z]+$|{re.escape(STAGING_FOLDER)}"
)

_STAGED = re.compile(rf"{re.escape(STAGING_FOLDER)}([0-9a-f]{{24}})-[0-9]+/")


class Difference(StrEnum):
    """`SOUND`: a file that was noted as missing or altered is there again, as it was delivered."""

    MISSING = "missing"
    ALTERED = "altered"
    SOUND = "sound"
    UNKNOWN = "unknown"
    FOREIGN = "foreign"


_REMEDIES = {
    Difference.MISSING: (
        "noted on the export, whose download is taken away; if the file is still wanted, request a new export or "
        "re-execute its run"
    ),
    Difference.ALTERED: "noted on the export; look who wrote it",
    Difference.SOUND: "the note on the export is taken away",
    Difference.UNKNOWN: "deleted, in all versions, if that is asked for as well",
    Difference.FOREIGN: "left alone: it does not say that this service wrote it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFinding:
    """One difference, in a bucket by its name in S3; `export` is the one that records the key, or that wrote it."""

    difference: Difference
    bucket: str
    key: str
    export_id: str | None
    why: str

    @property
    def remedy(self) -> str:
        """What `fix` does about it."""
        return _REMEDIES[self.difference]


@dataclass(frozen=True, slots=True)
class StoreReconciler:
    """Compares the documents of one database with the buckets that are configured; see the module.

    Its methods raise SourceUnavailable, DeliveryFailed, DeliveryRefused.
    """

    backend: Backend

    def look(self, *, unknown_hours: float = UNKNOWN_HOURS) -> Iterator[StoreFinding]:
        """Yield what differs, documents first; unknown are objects that are older than `unknown_hours`."""
        until = self._now() - timedelta(hours=unknown_hours)
        stored = {name: self._ours(name, until) for name in self._buckets()}
        for export in self._exports():
            yield from self._differences(export)
            for attempt in export.attempts:
                _forget(stored.get(self._name(attempt.bucket)), attempt.keys)
            _forget(stored.get(self._name(export.bucket)), export.keys)
        for name, objects in stored.items():
            yield from self._unknown(name, objects)

    def fix(self, finding: StoreFinding, by: Actor, *, deletes: bool = False) -> bool:
        """Do what `finding.remedy` says, unknown objects only if `deletes`; False when nothing was done."""
        match finding.difference:
            case Difference.MISSING | Difference.ALTERED | Difference.SOUND:
                problem = None if finding.difference is Difference.SOUND else FileProblem(finding.difference.value)
                return finding.export_id is not None and self.backend.queue.note_file_problem(
                    finding.export_id, finding.key, problem
                )
            case Difference.UNKNOWN:
                return deletes and self._delete(finding, by)
            case Difference.FOREIGN:
                return False
            case _:
                assert_never(finding.difference)

    @property
    def _clients(self) -> BucketClients:
        return self.backend.buckets

    def _buckets(self) -> dict[str, str]:
        """Return the buckets that are configured: their names in the catalog by those in S3."""
        return {self._clients.find(bucket)[1].name: bucket for bucket in self._clients.configured}

    def _name(self, stored: str | None) -> str:
        """Return the S3 name of a bucket that a document names: it may have the catalog's name for it."""
        named = {bucket: name for name, bucket in self._buckets().items()}
        return named.get(stored or "", stored or "")

    def _exports(self) -> Iterator[Export]:
        after = None
        while page := self.backend.queue.list(descending=False, limit=_PAGE, after=after):
            yield from page
            after = page[-1].position

    def _differences(self, export: Export) -> Iterator[StoreFinding]:
        """Yield what is wrong with the files that a FINISHED export records; at most one thing of each file."""
        name = self._name(export.bucket)
        bucket = self._buckets().get(name)
        if export.status is not ExportStatus.FINISHED or bucket is None:
            return
        target = self._clients.bucket(bucket)
        found = at_once(lambda key: describe(target, key), export.keys)
        compared = [(key, *_compared(export, key, one)) for key, one in zip(export.keys, found, strict=True)]
        wrong = [(key, difference, why) for key, difference, why in compared if difference is not None]
        if not wrong and export.file_problem is not None:
            wrong = [(key, Difference.SOUND, "it is as it was delivered") for key in export.keys[:1]]
        if wrong and self._is_current(export):
            for key, difference, why in wrong:
                yield StoreFinding(difference=difference, bucket=name, key=key, export_id=export.id, why=why)

    def _read(self, export_id: str) -> Export | None:
        try:
            return self.backend.queue.get(export_id)
        except ExportNotFound:
            return None

    def _is_current(self, export: Export) -> bool:
        """Return whether an export is still as it was read: it may have been deleted, or run again."""
        found = self._read(export.id)
        return found is not None and (found.status, found.attempt) == (export.status, export.attempt)

    def _ours(self, name: str, until: datetime) -> dict[str, StoredObject]:
        """Return the objects of a bucket whose keys are like ours, by key; only those that are old enough."""
        target = self._clients.bucket(self._buckets()[name])
        found = (item for item in stored_objects(target) if _OURS.match(item.key))
        return {item.key: item for item in found if item.modified <= until and item.key != probe_key("write")}

    def _unknown(self, name: str, objects: dict[str, StoredObject]) -> Iterator[StoreFinding]:
        target = self._clients.bucket(self._buckets()[name])
        for key in sorted(objects):
            found = describe(target, key)
            if found is None:
                continue  # it was deleted meanwhile
            difference = Difference.FOREIGN if found.export_id is None else Difference.UNKNOWN
            why = f"{found.bytes:,} bytes of {objects[key].modified:%Y-%m-%d}, which no export records"
            yield StoreFinding(difference=difference, bucket=name, key=key, export_id=found.export_id, why=why)

    def _delete(self, finding: StoreFinding, by: Actor) -> bool:
        if finding.export_id is not None and self._records(finding.export_id, finding.key):
            return False  # since it was looked at
        if self._is_of_active(finding):
            return False  # an attempt that runs puts its files together there, and records none of them
        store = self._clients.store_named(finding.bucket, likely=self._buckets()[finding.bucket])
        with self.backend.audit.noted(by, AuditAction.DELETE_FILE, finding.export_id):
            store.remove([finding.key], owner=finding.export_id)
        return True

    def _now(self) -> datetime:
        """Return MongoDB's time: a machine whose clock is ahead would take what is new for old."""
        database = self.backend.database
        command = with_retries(database[EXPORTS], lambda: database.command("hello"), DEFAULT_LIMITS, name="hello")
        told: datetime = command["localTime"]
        return told.replace(tzinfo=UTC)

    def _is_of_active(self, finding: StoreFinding) -> bool:
        staged = _STAGED.match(finding.key)
        for export_id in {finding.export_id, staged and staged[1]} - {None}:
            export = self._read(export_id or "")
            if export is not None and export.status in ACTIVE:
                return True
        return False

    def _records(self, export_id: str, key: str) -> bool:
        export = self._read(export_id)
        return export is not None and key in {*export.keys, *(key for one in export.attempts for key in one.keys)}


def _compared(export: Export, key: str, found: ObjectDescription | None) -> tuple[Difference | None, str]:
    if found is None:
        return Difference.MISSING, "nothing is under its key"
    if len(export.keys) == 1 and found.bytes != export.bytes:
        return Difference.ALTERED, f"{found.bytes:,} bytes, not {export.bytes:,}"
    if found.sha256 != export.sha256[key]:
        return Difference.ALTERED, "it does not carry the SHA-256 that was recorded"
    return None, ""


def _forget(objects: dict[str, StoredObject] | None, keys: Iterable[str]) -> None:
    for key in keys:
        if objects is not None:
            objects.pop(key, None)
