"""The preliminary count: what the index can say before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.mongo.client import open_scanned
from vfexport_core.mongo.retry import ReadRetries, retry_read
from vfexport_core.sources.conditions import condition_expression
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
    return _count(spec, campaign_id, database, settings, {}) if spec.preliminary_count else None


def count_matching(
    spec: ExportSpec, campaign_id: str, database: Database[Document], settings: Settings, date_key: str | None
) -> int:
    """Count the documents that an export reads, by its condition: exactly what it would read now.

    MongoDB reads the campaign's documents for this, where there is a condition. Raises as `count_rows` does.
    """
    where = spec.scan.where
    condition = {} if where is None else {"$expr": condition_expression(where, date_key)}
    return _count(spec, campaign_id, database, settings, condition)


def _count(
    spec: ExportSpec, campaign_id: str, database: Database[Document], settings: Settings, condition: Document
) -> int:
    scanned = spec.scan.collection
    match = {**range_of(database, scanned, campaign_id).match(), **condition}
    collection = open_scanned(database, settings)[scanned.spec.name]
    return retry_read(lambda: collection.count_documents(match), ReadRetries(collection.name, operation="count"))
