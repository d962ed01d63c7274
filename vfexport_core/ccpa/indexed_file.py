"""The index of the file that an attempt writes, and whether a deletion forbids to publish it.

The rows of a user may be read from sources that have lost the user by the time a deletion looks there. So an export
completes its index, then asks for deletions, then publishes; a deletion is recorded, then looks into the indexes: one
of them sees the other. A deletion that had looked before the export read anything is no obstacle: whoever it did not
find in the campaign has come there since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.ccpa.file_index import FileIndex, FileIndexWriter, file_of
from vfexport_core.ccpa.person_keys import PersonHasher
from vfexport_core.ccpa.repository import DeletionRepository
from vfexport_core.errors import ConfigurationError
from vfexport_core.mongo.retry import WORKER_LIMITS

if TYPE_CHECKING:
    from datetime import datetime

    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.ccpa.person_keys import Keys
    from vfexport_core.mongo.document import Document
    from vfexport_core.queue.models import Export
    from vfexport_core.settings import Settings


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """What one attempt of an export writes."""

    export: Export
    hasher: PersonHasher
    _index: FileIndex
    _writer: FileIndexWriter
    _deletions: DeletionRepository
    _earlier: frozenset[tuple[str, int]]
    """The searches of deletions that were over when the export began."""

    @classmethod
    def open(
        cls, export: Export, spec: ExportSpec, settings: Settings, database: Database[Document]
    ) -> IndexedFile | None:
        """Begin the index, before anything is read; None for a type that deletions keep, and without CCPA_HASH_KEY.

        Raises SourceUnavailable.
        """
        hasher = PersonHasher.from_settings(settings)
        if not spec.ccpa_deletes or hasher is None:
            return None
        index = FileIndex(database, WORKER_LIMITS)
        writer = FileIndexWriter(index, file_of(export.id, export.attempt), export.campaign_id, hasher.key_check)
        deletions = DeletionRepository(database, WORKER_LIMITS)
        earlier = {(one.record_id, one.search) for one in deletions.respected_since(_claimed(export)) if one.is_found}
        return cls(export, hasher, index, writer, deletions, frozenset(earlier))

    def add(self, keys: Keys) -> None:
        """Take the keys of the people of some rows; raises SourceUnavailable."""
        self._writer.add(keys)

    def close(self) -> bool:
        """Complete the index, and return whether a deletion forbids to publish the file.

        It has been recorded since the export read whom to leave out, and does not know of this campaign: now it does,
        so that the next attempt leaves the user out. Raises SourceUnavailable, and ConfigurationError when a deletion
        was recorded under another CCPA_HASH_KEY.
        """
        self._writer.close()
        file = file_of(self.export.id, self.export.attempt)
        is_forbidden = False
        for deletion in self._deletions.respected_since(_claimed(self.export)):
            if (deletion.record_id, deletion.search) in self._earlier:
                continue
            if deletion.people and self.hasher.key_check not in deletion.people:
                raise ConfigurationError(
                    "VFEXPORT_CCPA_HASH_KEY is not the one that an open or recent CCPA deletion was recorded with",
                    payload="VFEXPORT_CCPA_HASH_KEY",
                )
            if self._index.files_holding(deletion.people, file=file):
                self._deletions.add_campaign(deletion.record_id, self.export.campaign_id)
                is_forbidden = True
        return is_forbidden


def _claimed(export: Export) -> datetime:
    return export.date.triggered or export.date.created
