"""Look-ups by the batch: the documents that belong to one batch of scanned ones.

Kinder to the operational database than ``$lookup`` per document; the next batch's look-up runs while this one is
written.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bson import ObjectId

from vfexport_core.catalog.spec import Field, Kind, Root
from vfexport_core.sources.batch import Batch
from vfexport_core.sources.client import raw_batches
from vfexport_core.sources.decode import Decoder
from vfexport_core.sources.projection import flat_projection
from vfexport_core.sources.retry import Patience, persistently

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from pymongo.collection import Collection

    from vfexport_core.sources.client import Document

_OBJECT_ID_HEX = re.compile(r"[0-9a-f]{24}")
_PARALLEL_QUERIES = 2


class UserLookup:
    """Finds users by their ids, at most `lookup_batch` a query, a few queries at a time.

    `submit` and `gather` are called from one thread. Setting `stop` ends the waiting for retries.
    """

    KEY = Field(Root.USER, ("_id",), Kind.OBJECT_ID)

    def __init__(
        self, collection: Collection[Document], fields: Sequence[Field], *, lookup_batch: int, stop: threading.Event
    ) -> None:
        self._collection = collection
        self._decoder = Decoder((self.KEY, *fields))
        self._project = flat_projection(self._decoder.names)
        self._lookup_batch = lookup_batch
        self._stop = stop
        self._pool = ThreadPoolExecutor(_PARALLEL_QUERIES, thread_name_prefix="lookup")

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, keys: Iterable[str | None]) -> list[Future[list[bytes]]]:
        """Begin to read the users of these ids (lower-case hex); what is no ObjectId has no user."""
        ids = [ObjectId(key) for key in dict.fromkeys(keys) if key and _OBJECT_ID_HEX.fullmatch(key)]
        step = self._lookup_batch
        return [self._pool.submit(self._read, ids[start : start + step]) for start in range(0, len(ids), step)]

    def gather(self, futures: Iterable[Future[list[bytes]]]) -> Batch:
        """Wait for what `submit` began: the users found, in no particular order, with `KEY` and the fields.

        Raises SourceUnavailable when the users cannot be read.
        """
        found = Batch.empty(self._decoder.fields)
        for future in futures:
            for raw in future.result():
                found.extend(self._decoder.decode(raw))
        return found

    def _read(self, ids: list[ObjectId]) -> list[bytes]:
        pipeline = [{"$match": {"_id": {"$in": ids}}}, {"$project": self._project}]

        def read() -> list[bytes]:
            with raw_batches(self._collection, pipeline, len(ids) + 1) as batches:
                return list(batches)

        return persistently(read, Patience(self._collection.name, self._stop))
