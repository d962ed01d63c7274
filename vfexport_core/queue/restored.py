"""Exports out of a backup: it is read while exports go on, and may hold active ones that cannot be so at a time.

One that began, or was asked for, while the collection was read may stand beside the one whose place it took. The first
stays as it was, the others are ended: without that the unique indexes (L2, L3) would refuse them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import bson

from vfexport_core.errors import WorkerLost
from vfexport_core.queue.models import ACTIVE, ExportStatus
from vfexport_core.queue.transitions import DATE_FIELDS, clean_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from bson.raw_bson import RawBSONDocument

    from vfexport_core.mongo.document import Document


@dataclass
class RestoredExports:
    """Ends what conflicts, as of `now`: TRIGGERED ones are FAILED (WorkerLost), PENDING ones CANCELED."""

    now: datetime
    ended: list[str] = field(default_factory=list[str])
    """The ids of those that were ended."""
    _keys: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])
    _triggered: bool = False

    def __call__(self, raw: RawBSONDocument) -> Mapping[str, Any]:
        """Return what is to be stored of one export."""
        if raw["status"] not in ACTIVE:
            return raw
        key = (raw["campaignId"], raw["exportType"], raw.get("dateKey"))
        is_triggered = raw["status"] == ExportStatus.TRIGGERED
        if key in self._keys or (is_triggered and self._triggered):
            self.ended.append(str(raw["_id"]))
            return _ended(bson.decode(raw.raw), self.now)
        self._keys.add(key)
        self._triggered = self._triggered or is_triggered
        return raw


def _ended(document: Document, now: datetime) -> Document:
    attempt = document["attempt"]
    status, change = ExportStatus.CANCELED, dict[str, Any]()
    if document["status"] == ExportStatus.TRIGGERED:
        status = ExportStatus.FAILED
        lost = WorkerLost("it was TRIGGERED in the backup, beside another active export", payload=document.get("runId"))
        change = {"error": clean_error(lost.as_dict())}
    entry = {"status": status.value, "ended": now} | change
    others = [one for one in document["attempts"] if one["attempt"] != attempt]
    open_entry = next((one for one in document["attempts"] if one["attempt"] == attempt), {"attempt": attempt})
    date = document["date"] | {DATE_FIELDS[status].removeprefix("date."): now}
    change |= {"status": status.value, "date": date, "attempts": [*others, open_entry | entry]}
    # What an attempt may have left on S3 is looked after, as of any other that was lost.
    return document | change | {"cleanupDue": now}
