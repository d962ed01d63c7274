"""Who is in which file: for each attempt of an export, the keys of all people whose rows it wrote (ccpa.person_keys).

It is written in the same pass as the rows, before the file can be seen, and it finds a file when nothing else in the
database says any more whose rows are in it. `ccpaFileIndex` holds it in parts of a few KiB:

- An attempt's keys come in segments of up to `SEGMENT_KEYS`, as they are made, so that a worker's memory is bounded.
- A segment is cut by the leading bits of its keys into 1, 2, 4 ... parts of about `PART_KEYS`. A part's `slot` says
  which: the parts of all segments that may hold a key are found by the few slots that the key can be in, one part per
  segment.
- A part keeps the last 6 bytes of its keys. That another person's key is in a segment is as likely as
  PART_KEYS / 2**48, 4 in 10**12; then more is deleted than had to be, never less.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pymongo import ASCENDING, IndexModel
from pymongo.errors import BulkWriteError

from vfexport_core.mongo.own_collections import FILE_INDEX, open_owned
from vfexport_core.mongo.retry import RetryLimits, has_only_duplicates, with_retries
from vfexport_core.mongo.schema_setup import INDEX_BUILD_LIMITS, INT, TEXT, closed, put_indexes, put_validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pymongo.database import Database

    from vfexport_core.ccpa.person_keys import Keys, People
    from vfexport_core.mongo.document import Document

T = TypeVar("T")

SEGMENT_KEYS = 2**20
PART_KEYS = 2**10
"""A part has half as many to as many of them, give or take what chance does."""

_KEY_BITS = 64
_STORED_BYTES = 6
_MOST_BITS = (SEGMENT_KEYS // PART_KEYS).bit_length() - 1
_PARTS_AT_ONCE = 256

_ATTEMPT = "^[0-9a-f]{24}:[0-9]+$"
INDEXES = (
    IndexModel([("slot", ASCENDING), ("keyCheck", ASCENDING)], name="slot"),
    IndexModel([("keyCheck", ASCENDING)], name="key_check"),
    IndexModel([("file", ASCENDING)], name="file"),
)
VALIDATOR: Document = {
    "$jsonSchema": closed(
        ["_id", "file", "campaignId", "keyCheck", "slot", "keys"],
        {
            "_id": TEXT,
            "file": {"bsonType": "string", "pattern": _ATTEMPT},
            "campaignId": {"bsonType": "string", "pattern": "^[0-9a-f]{24}$"},
            "keyCheck": {"bsonType": "string", "pattern": "^[0-9a-f]{16}$"},
            "slot": INT,
            "keys": {"bsonType": "binData"},
        },
    )
}


def file_of(export_id: str, attempt: int) -> str:
    """Return the name of what one attempt of an export writes, be it one object or several."""
    return f"{export_id}:{attempt}"


@dataclass(frozen=True, slots=True)
class Hit:
    """A file that holds one of the people asked for, and its campaign."""

    file: str
    campaign_id: str


class FileIndex:
    """The index of all files of one database; safe to share between threads. Any method may raise SourceUnavailable."""

    def __init__(self, database: Database[dict[str, Any]], limits: RetryLimits) -> None:
        self._parts = open_owned(database, FILE_INDEX)
        self._limits = limits

    def initialise(self) -> None:
        """Create validator and indexes, or bring them up to date; idempotent. Raises InitialisationFailed."""
        self._retrying(lambda: put_validator(self._parts, VALIDATOR))
        with_retries(self._parts, lambda: put_indexes(self._parts, INDEXES), INDEX_BUILD_LIMITS)

    def files_holding(self, people: People, *, file: str | None = None) -> set[Hit]:
        """Return the files in which one of these people is, or only `file` if it is one of them."""
        hits: set[Hit] = set()
        for key_check, keys in people.items():
            for key in keys:
                slots = [_slot(key, bits) for bits in range(_MOST_BITS + 1)]
                query: Document = {"keyCheck": key_check, "slot": {"$in": slots}}
                if file is not None:
                    query["file"] = file
                hits |= self._retrying(lambda query=query, key=key: set(self._matching(query, key)))
        return hits

    def key_checks(self) -> set[str]:
        """Return the key checks of all CCPA_HASH_KEYs that some file's index was made with."""
        return set(self._retrying(lambda: self._parts.distinct("keyCheck")))

    def add_segment(self, file: str, number: int, campaign_id: str, key_check: str, keys: Keys) -> None:
        """Keep some of the keys of a file; adding the same segment twice is adding it once."""
        common = {"file": file, "campaignId": campaign_id, "keyCheck": key_check}
        parts = [
            {"_id": f"{file}:{number}:{slot}", **common, "slot": slot, "keys": stored}
            for slot, stored in split_keys(keys)
        ]
        for start in range(0, len(parts), _PARTS_AT_ONCE):
            some = parts[start : start + _PARTS_AT_ONCE]
            self._retrying(lambda some=some: self._insert(some))

    def forget(self, files: Iterable[str]) -> None:
        """Delete the index of files that are gone; harmless to repeat."""
        names = list(files)
        if names:
            self._retrying(lambda: self._parts.delete_many({"file": {"$in": names}}))

    def _matching(self, query: Document, key: int) -> Iterator[Hit]:
        import numpy as np  # noqa: PLC0415 whoever sets collections up, or looks whether they are, needs none

        wanted = np.frombuffer(_stored(np.array([key], dtype=np.uint64)), dtype=np.uint8)
        for part in self._parts.find(query, {"file": 1, "campaignId": 1, "keys": 1}):
            held = np.frombuffer(part["keys"], dtype=np.uint8).reshape(-1, _STORED_BYTES)
            if (held == wanted).all(axis=1).any():
                yield Hit(part["file"], part["campaignId"])

    def _insert(self, parts: list[Document]) -> None:
        try:
            self._parts.insert_many(parts, ordered=False)
        except BulkWriteError as error:
            if not has_only_duplicates(error):  # those that an earlier try has inserted, whose answer was lost
                raise

    def _retrying(self, operation: Callable[[], T]) -> T:
        return with_retries(self._parts, operation, self._limits)


class Segments(Protocol):
    """Keeps segments: a `FileIndex`."""

    def add_segment(self, file: str, number: int, campaign_id: str, key_check: str, keys: Keys) -> None: ...


class FileIndexWriter:
    """Collects the keys of one attempt's file; what it has written is complete after `close`."""

    def __init__(self, index: Segments, file: str, campaign_id: str, key_check: str) -> None:
        self.key_check = key_check
        self._index = index
        self._file = file
        self._campaign_id = campaign_id
        self.waiting: list[Keys] = []
        self._count = 0
        self._segments = 0

    def add(self, keys: Keys) -> None:
        """Take keys, in any order and any number of times; raises SourceUnavailable."""
        self.waiting.append(keys)
        self._count += len(keys)
        if self._count >= SEGMENT_KEYS:
            self._write()

    def close(self) -> None:
        """Write what is left; raises SourceUnavailable."""
        if self._count:
            self._write()

    def _write(self) -> None:
        import numpy as np  # noqa: PLC0415 see `FileIndex._matching`

        self._segments += 1
        keys = np.concatenate(self.waiting)
        self._index.add_segment(self._file, self._segments, self._campaign_id, self.key_check, keys)
        self.waiting, self._count = [], 0


def split_keys(keys: Keys) -> Iterator[tuple[int, bytes]]:
    """Cut keys, in any order, into parts by their leading bits; yields the slot and what is stored of each part."""
    import numpy as np  # noqa: PLC0415 see `FileIndex._matching`

    bits = min(_MOST_BITS, max(0, (len(keys) - 1) // PART_KEYS).bit_length())
    if not bits:
        yield _slot(0, 0), _stored(keys)
        return
    # So small numbers are put in order in one pass, which sorting the keys is not.
    prefixes = (keys >> np.uint64(_KEY_BITS - bits)).astype(np.uint16)
    ordered = keys[np.argsort(prefixes, kind="stable")]
    ends = np.cumsum(np.bincount(prefixes, minlength=2**bits)).tolist()
    for prefix, (start, end) in enumerate(itertools.pairwise([0, *ends])):
        if start < end:
            yield 2**bits + prefix, _stored(ordered[start:end])


def _slot(key: int, bits: int) -> int:
    """Return the number of the part for a key where `bits` leading bits cut: 1, then 2 and 3, then 4 to 7, ..."""
    return 2**bits + (key >> (_KEY_BITS - bits))


def _stored(keys: Keys) -> bytes:
    """Return the last bytes of each key, one behind the other."""
    rows = keys.astype(">u8").view("u1").reshape(-1, _KEY_BITS // 8)
    return rows[:, -_STORED_BYTES:].tobytes()
