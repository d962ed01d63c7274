"""The preliminary count: what the index can say before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.sources.client import reading
from vfexport_core.sources.scan import entry_range

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.sources.client import Document


def count_rows(spec: ExportSpec, campaign_id: str, database: Database[Document]) -> int | None:
    """Count the documents that an export's rows come from; None for a type without a preliminary count.

    Raises SourceMissing when the collection does not exist, SourceUnavailable when MongoDB fails.
    """
    if not spec.preliminary_count:
        return None
    selection = entry_range(database, campaign_id)
    with reading("entries"):
        return database["entries"].count_documents(selection.match(None))
