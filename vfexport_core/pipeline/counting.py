"""The preliminary count: what the index can say before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.mongo.client import open_scanned
from vfexport_core.mongo.retry import ReadRetries, retry_read
from vfexport_core.sources.ranges import range_of

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.mongo.document import Document
    from vfexport_core.settings import Settings


def count_rows(spec: ExportSpec, campaign_id: str, database: Database[Document], settings: Settings) -> int | None:
    """Count the documents that an export reads; None for a type without a preliminary count.

    Conditions are left out on purpose: the index answers without reading a document, and progress is measured against
    what is read.

    Raises SourceMissing when the collection does not exist, SourceUnavailable when MongoDB fails.
    """
    if not spec.preliminary_count:
        return None
    scanned = spec.scan.collection
    selection = range_of(database, scanned, campaign_id)
    collection = open_scanned(database, settings)[scanned.spec.name]
    return retry_read(
        lambda: collection.count_documents(selection.match()), ReadRetries(collection.name, operation="count")
    )
