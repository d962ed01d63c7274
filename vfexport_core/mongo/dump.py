"""The service's own collections as one stream of bytes, and back: compressed BSON that says when it is complete.

The first document says what it is, the last one how many there are of each collection: a stream that was cut is no
backup. What the service can find again by itself (buckets that hang, the schema's version) is not in it.
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, cast

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from vfexport_core.errors import RestoreRefused
from vfexport_core.mongo.own_collections import AUDIT, COUNTERS, DELETIONS, EXPORTS, FILE_INDEX, OUTBOX, open_owned
from vfexport_core.mongo.retry import WORKER_LIMITS, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pymongo.collection import Collection
    from pymongo.database import Database

    from vfexport_core.mongo.document import Document

# The record of deletions first: no export may be there without it. The index of people in files behind the exports: it
# is written before an export ends, so that each one that has ended has its own (one of no file harms nobody).
BACKED_UP = (DELETIONS, EXPORTS, FILE_INDEX, AUDIT, COUNTERS, OUTBOX)

_FORMAT = "vfexport-backup"
_AT_ONCE = 500
_RAW = CodecOptions[RawBSONDocument](document_class=RawBSONDocument)


def write_backup(database: Database[Document], out: IO[bytes], *, schema_version: int) -> dict[str, int]:
    """Write all documents of the collections that are `BACKED_UP`, and return how many of each.

    Raises SourceUnavailable.
    """
    counts: Counter[str] = Counter(dict.fromkeys(BACKED_UP, 0))
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as stream:
        stream.write(bson.encode({"format": _FORMAT, "schema": schema_version, "database": database.name}))
        for name in BACKED_UP:
            for document in _all(database, name):
                stream.write(bson.encode({"collection": name, "document": document}))
                counts[name] += 1
        stream.write(bson.encode({"counts": dict(counts)}))
    return dict(counts)


def check_backup(database: Database[Document], source: IO[bytes], *, schema_version: int) -> None:
    """Read a backup to its end, which changes nothing; `source` is at its beginning again.

    Raises RestoreRefused for what is no whole backup, or one of a newer version, and where there are documents already;
    SourceUnavailable.
    """
    for name in BACKED_UP:
        owned = open_owned(database, name)
        # The counters begin when the database is set up.
        if name != COUNTERS and with_retries(owned, lambda owned=owned: owned.find_one({}, {"_id": 1}), WORKER_LIMITS):
            raise RestoreRefused(f"collection {database.name}.{name} is not empty", payload=name)
    _read(source, schema_version, lambda _name, _documents: None)
    source.seek(0)


def insert_backup(
    database: Database[Document],
    source: IO[bytes],
    *,
    schema_version: int,
    of_export: Callable[[RawBSONDocument], Mapping[str, Any]],
) -> dict[str, int]:
    """Put the documents of a backup that was checked into their collections, and return how many of each.

    The exports come last: none is there without the record of deletions and its index of people. `of_export` gives what
    is stored of an export's document. Raises RestoreRefused, also when another active export stands in the way;
    SourceUnavailable.
    """

    def put(name: str, documents: list[RawBSONDocument], *, exports: bool) -> None:
        if (name == EXPORTS) is exports:
            _insert(database, name, [of_export(one) for one in documents] if exports else documents)

    _read(source, schema_version, lambda name, documents: put(name, documents, exports=False))
    source.seek(0)
    try:
        return _read(source, schema_version, lambda name, documents: put(name, documents, exports=True))
    except DuplicateKeyError:
        raise RestoreRefused(
            f"an export that was requested meanwhile stands in the way: {database.name}.{EXPORTS} is restored in part",
            payload=EXPORTS,
        ) from None


def _all(database: Database[Document], name: str) -> Iterator[RawBSONDocument]:
    """Yield every document, as it is stored, in the order of ``_id``; a fault costs no more than a page."""
    found: Collection[RawBSONDocument] = open_owned(database, name).with_options(codec_options=_RAW)
    query: Document = {}
    while True:
        page = with_retries(
            found,
            lambda query=query: [*found.find(query).sort([("_id", ASCENDING)]).limit(_AT_ONCE)],
            WORKER_LIMITS,
            name="find",
        )
        yield from page
        if len(page) < _AT_ONCE:
            return
        query = {"_id": {"$gt": page[-1]["_id"]}}


def _read(
    source: IO[bytes], schema_version: int, put: Callable[[str, list[RawBSONDocument]], object]
) -> dict[str, int]:
    """Hand the documents of a backup on, some of one collection at a time; raises RestoreRefused."""
    counts: Counter[str] = Counter(dict.fromkeys(BACKED_UP, 0))
    frames = _frames(source)
    head = next(frames, {})
    if head.get("format") != _FORMAT:
        raise RestoreRefused("this is not a backup of `vfexport backup`")
    if head["schema"] > schema_version:
        raise RestoreRefused(f"the backup is of a newer version ({head['schema']}) than this one ({schema_version})")
    for name, group in itertools.groupby(frames, lambda frame: str(frame.get("collection", ""))):
        if not name:
            (end,) = group
            # A backup of an earlier version does not speak of all the collections that there are now.
            if Counter(dict(end["counts"])) != counts:
                raise RestoreRefused("the backup does not hold what it says")
            return dict(counts)
        if name not in BACKED_UP:
            raise RestoreRefused(f"the backup has an unknown collection {name[:64]!r}")
        while some := [frame["document"] for frame in itertools.islice(group, _AT_ONCE)]:
            put(name, some)
            counts[name] += len(some)
    raise RestoreRefused("the backup was cut: it has no end")


def _insert(database: Database[Document], name: str, documents: Sequence[Mapping[str, Any]]) -> None:
    owned: Collection[Any] = open_owned(database, name)

    def put() -> None:
        for document in documents:
            # By its id: what an earlier try has put there, whose answer was lost, is put there again.
            owned.replace_one({"_id": document["_id"]}, document, upsert=True)

    with_retries(owned, put, WORKER_LIMITS, name="update")


def _frames(source: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as stream:
            yield from bson.decode_file_iter(cast("IO[bytes]", stream), _RAW)
    except (OSError, EOFError, zlib.error, BSONError) as error:
        raise RestoreRefused("this is not a backup, or it was cut") from error
