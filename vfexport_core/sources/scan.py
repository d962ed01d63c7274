"""The resumable scan: one campaign's documents of a collection as raw BSON batches, by ``_id``.

A connection that drops, a cursor that the server forgot or a primary that steps down costs a new query after the last
``_id`` seen: no document is lost and none comes twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pymongo.errors import PyMongoError

from vfexport_core.mongo.retry import ReadRetries
from vfexport_core.sources.documents import document_bounds, last_document
from vfexport_core.sources.projection import RESUME_NAME, flat_projection
from vfexport_core.sources.raw_batches import raw_batches

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping

    from pymongo.collection import Collection

    from vfexport_core.catalog.collections import Field
    from vfexport_core.mongo.document import Document
    from vfexport_core.sources.ranges import Range
    from vfexport_core.sources.reply_size import ReplySize

BATCH_DOCUMENTS = 4_000
REPLY_BATCHES = 3
"""So many batches are asked for at once, to begin with: the next reply cannot be asked for before this one is there,
and what a round trip costs is shared by all."""
_BATCH_BYTES = 4 * 2**20


def scan(
    collection: Collection[Document],
    selection: Range,
    names: Mapping[Field, str],
    stop: threading.Event,
    *,
    where: Any = None,
    batch_documents: int,
    reply_size: ReplySize,
) -> Iterator[bytes]:
    """Yield raw batches of at most `batch_documents` flat documents and about 4 MiB, in the order of ``_id``.

    `where` is an aggregation expression; `reply_size` says how many documents the server is asked for. Raises
    SourceUnavailable when the collection cannot be read on. Setting `stop` ends the waiting for retries.
    """
    retries = ReadRetries(collection.name, stop, "scan")
    project = flat_projection(names, **{RESUME_NAME: "$_id"})
    last: Any = None
    while True:
        pipeline = [
            {"$match": and_where(selection.match(last), where)},
            {"$sort": selection.sort},
            {"$project": project},
        ]
        raw = b""
        hint = None if last is None else selection.resume_index
        try:
            with raw_batches(collection, pipeline, reply_size.documents, hint=hint) as batches:
                for raw in batches:
                    reply_size.came(len(raw))
                    yield from split_batch(raw, batch_documents)
                    retries.progressed()
                    reply_size.handed_on()
                    batches.batch_size(reply_size.documents)
                return
        except PyMongoError as error:
            if raw:
                last = last_document(raw)[RESUME_NAME]
            retries.failed(error)


def split_batch(raw: bytes, most_documents: int, most_bytes: int = _BATCH_BYTES) -> Iterator[bytes]:
    """Yield the concatenated documents of `raw` in pieces of whole documents, at least one and `most_documents` each.

    A piece ends with the document that brings it to `most_bytes`. Raises InvalidBSON.
    """
    bounds = document_bounds(raw)
    first, end = 0, len(bounds) - 1
    while first < end:
        enough = int(np.searchsorted(bounds, bounds[first] + most_bytes))
        last = min(first + most_documents, enough, end)
        yield raw[bounds[first] : bounds[last]]
        first = last


def and_where(match: Document, where: Any) -> Document:
    """Add an aggregation expression to a query, which may have one already."""
    if where is None:
        return match
    expressions = [where, match["$expr"]] if "$expr" in match else [where]
    return {**match, "$expr": {"$and": expressions}}
