"""Look-ups by the batch: the documents that belong to one batch of scanned ones.

Kinder to the operational database than ``$lookup`` per document; the next batch's look-up runs while this one is
written.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from bson import ObjectId

from vfexport_core.catalog.expressions import ARRAY_SEPARATOR
from vfexport_core.mongo.retry import ReadRetries, retry_read
from vfexport_core.sources.arrow_functions import pc
from vfexport_core.sources.batch import Batch
from vfexport_core.sources.decode import Decoder
from vfexport_core.sources.object_ids import object_ids, one_of
from vfexport_core.sources.projection import flat_projection
from vfexport_core.sources.raw_batches import raw_batches
from vfexport_core.sources.scan import and_where

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from pymongo.database import Database

    from vfexport_core.catalog.collections import Collection, Field
    from vfexport_core.mongo.document import Document
    from vfexport_core.sources.ranges import Range

_OBJECT_ID_HEX = re.compile(r"[0-9a-f]{24}")
# As many batches as look-ups are begun for ahead (pipeline.join), and one: then a slow answer holds up only its own.
_PARALLEL_QUERIES = 4
# More documents with a nonconforming key than this are not dirt but a habit: then both forms of each id are asked for.
_FEW_NONCONFORMING = 10_000


@dataclass(frozen=True, slots=True)
class LookupTarget:
    """Where to look: a collection, the campaign's part of it (None: there is none) and a condition (an expression)."""

    collection: Collection
    selection: Range | None
    where: Any = None


class BatchedLookup:
    """Finds documents by the text of their key, at most `lookup_batch` a query, a few queries at a time.

    `submit` and `gather` are called from one thread. Setting `stop` ends the waiting for retries.
    """

    def __init__(
        self,
        database: Database[Document],
        target: LookupTarget,
        fields: Sequence[Field],
        *,
        lookup_batch: int,
        stop: threading.Event,
    ) -> None:
        self.key = target.collection.key
        self._collection = database[target.collection.spec.name]
        self._target = target
        self._decoder = Decoder(tuple(dict.fromkeys((self.key, *fields))))
        self._project = flat_projection(self._decoder.names)
        self._lookup_batch = lookup_batch
        self._stop = stop
        self._pool = ThreadPoolExecutor(_PARALLEL_QUERIES, thread_name_prefix="lookup")
        self._nonconforming: Batch | None = None
        self._also_object_ids = False

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, *keys: pa.Array) -> list[Future[list[bytes]]]:
        """Begin to read the documents with these keys, as they are written in the documents that refer to them."""
        self._read_nonconforming()
        texts = pc.unique(pa.concat_arrays(keys))
        matches = self._matches_of_users(texts) if self._target.selection is None else self._matches(texts)
        return [self._pool.submit(self._matching, match, count) for match, count in matches]

    def gather(self, futures: Iterable[Future[list[bytes]]]) -> Batch:
        """Wait for what `submit` began: the documents found, with their key and the fields.

        Of several with the same key the first by ``_id`` comes first. Raises SourceUnavailable.
        """
        found = self._decode([raw for future in futures for raw in future.result()])
        if self._nonconforming is not None:
            found.extend(self._nonconforming)
        return found

    def _matches_of_users(self, texts: pa.Array) -> Iterator[tuple[Document, int]]:
        """Return the queries, and how many documents each may find at most: users have ObjectIds as ``_id``."""
        ids = object_ids(texts)
        for start in range(0, len(ids), self._lookup_batch):
            some = ids[start : start + self._lookup_batch]
            yield {"_id": one_of(some)}, len(some)

    def _matches(self, texts: pa.Array) -> Iterator[tuple[Document, int]]:
        selection = self._target.selection
        assert selection is not None
        keys = list(self._forms(key for key in texts.to_pylist() if key))
        for start in range(0, len(keys), self._lookup_batch):
            some = keys[start : start + self._lookup_batch]
            yield selection.having(some), len(some)

    def _forms(self, keys: Iterable[str]) -> Iterator[Any]:
        """Return the values that a key of this text may have in the database, but for those that are nonconforming."""
        for key in keys:
            yield key
            if ARRAY_SEPARATOR in key:
                yield key.split(ARRAY_SEPARATOR)  # an array of strings: neither one of them nor nonconforming
            if self._also_object_ids and _OBJECT_ID_HEX.fullmatch(key) is not None:
                yield ObjectId(key)

    def _matching(self, match: Document, count: int) -> list[bytes]:
        # The condition is a stage of its own: MongoDB joins the two, and the embedded server uses an index for the
        # first only if nothing else stands in it.
        where = [] if self._target.where is None else [{"$match": {"$expr": self._target.where}}]
        return self._read([{"$match": match}, *where, *self._in_order()], count + 1)

    def _in_order(self) -> list[Document]:
        """Sort where a key may occur twice, so that the same document is taken in every run."""
        return [{"$sort": {"_id": 1}}] if self._target.collection.lookup.per_campaign else []

    def _read_nonconforming(self) -> None:
        """Read, once, the documents whose key is no string: they are few, and ``$in`` of strings would miss them."""
        if self._nonconforming is not None or self._target.selection is None:
            return
        match = and_where(self._target.selection.with_nonconforming_keys(), self._target.where)
        pipeline = [{"$match": match}, {"$limit": _FEW_NONCONFORMING}]
        self._nonconforming = self._decode(self._read(pipeline, _FEW_NONCONFORMING))
        if self._nonconforming.size == _FEW_NONCONFORMING:
            self._also_object_ids = True

    def _decode(self, batches: Iterable[bytes]) -> Batch:
        found = Batch.empty(self._decoder.fields)
        for raw in batches:
            found.extend(self._decoder.decode(raw))
        return found

    def _read(self, stages: list[Document], batch_documents: int) -> list[bytes]:
        pipeline = [*stages, {"$project": self._project}]

        def read() -> list[bytes]:
            with raw_batches(self._collection, pipeline, batch_documents) as batches:
                return list(batches)

        return retry_read(read, ReadRetries(self._collection.name, self._stop, "look-up"))
