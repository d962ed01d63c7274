"""Pre-encoded answers: the documents of one query in BSON, ready to be sent with the ids of any cycle."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, TypeAlias

import bson
import numpy as np
from replay_data import DISTINCT, ID_PREFIX

# A server's reply holds at most 16 MiB of documents.
REPLY_BYTES = 16 * 2**20
_ARRAY_KEYS = [b"\x03%d\x00" % index for index in range(100_000)]
_KEPT_ANSWERS = 2_000
_MISSING = object()


def flat(document: dict[str, Any], project: dict[str, Any]) -> dict[str, Any]:
    """Answer the plain renames of a ``$project``: ``{"c0": "$fields.email"}``. Missing stays missing."""
    found = {}
    for name, expression in project.items():
        if name == "_id" and not expression:
            continue
        if not isinstance(expression, str) or not expression.startswith("$") or expression.startswith("$$"):
            raise ValueError(f"the replay server answers plain paths only, not {expression!r}")
        value: Any = document
        for part in expression[1:].split("."):
            value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
        if value is not _MISSING:
            found[name] = value
    return found


def nested(document: dict[str, Any], projection: dict[str, Any]) -> dict[str, Any]:
    """Answer an inclusion projection of ``find``: ``{"fields.email": 1}``; nothing given means everything."""
    if not projection:
        return document
    tree: dict[str, Any] = {} if any(path.startswith("_id.") for path in projection) else {"_id": True}
    for path in projection:
        *parents, last = path.split(".")
        branch = tree
        for part in parents:
            branch = branch.setdefault(part, {})
        branch[last] = True
    return _pruned(document, tree)


def _pruned(document: dict[str, Any], tree: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in document.items():
        wanted = tree.get(name)
        if wanted is True:
            found[name] = value
        elif wanted and isinstance(value, dict):
            found[name] = _pruned(value, wanted)
    return found


class Pool:
    """The `DISTINCT` documents of one query, encoded once; what is sent is copied and given the cycle's ids."""

    def __init__(self, documents: list[dict[str, Any] | None]) -> None:
        self._encoded = [b"" if document is None else bson.encode(document) for document in documents]
        self.known = np.array([bool(data) for data in self._encoded])
        self.per_reply = REPLY_BYTES // max(len(data) + 8 for data in self._encoded)
        self._text_places = [_places(data, ID_PREFIX.hex().encode()) for data in self._encoded]
        self._binary_places = [_places(data, ID_PREFIX) for data in self._encoded]
        self._answers: dict[Any, tuple[bytes, np.ndarray, np.ndarray]] = {}

    def elements(self, places: range | np.ndarray, cycle: int, first_key: int) -> bytearray:
        """Return documents of one cycle as elements of a BSON array, the first under the key `first_key`."""
        key = (places if isinstance(places, range) else places.tobytes(), first_key)
        answer = self._answers.get(key)
        if answer is None:
            if len(self._answers) >= _KEPT_ANSWERS:
                self._answers.clear()
            answer = self._answers[key] = self._joined(list(places), first_key)
        template, text_at, binary_at = answer
        data = bytearray(template)
        view = np.frombuffer(data, np.uint8)
        for offset, byte in enumerate(b"%04x" % cycle):
            view[text_at + offset] = byte
        for offset, byte in enumerate(cycle.to_bytes(2, "big")):
            view[binary_at + offset] = byte
        return data

    def _joined(self, places: list[int], first_key: int) -> tuple[bytes, np.ndarray, np.ndarray]:
        pieces = [b""] * (2 * len(places))
        pieces[0::2] = _ARRAY_KEYS[first_key : first_key + len(places)]
        pieces[1::2] = [self._encoded[place] for place in places]
        starts = list(accumulate(map(len, pieces), initial=0))[1::2]
        text_at = [start + at for start, place in zip(starts, places, strict=True) for at in self._text_places[place]]
        binary = [start + at for start, place in zip(starts, places, strict=True) for at in self._binary_places[place]]
        return b"".join(pieces), np.array(text_at, np.int64), np.array(binary, np.int64)


class ScanCursor:
    """What is left of a scan over a campaign's first `entries` entries."""

    def __init__(self, pool: Pool, entries: int) -> None:
        self._pool = pool
        self._position = 0
        self._entries = entries

    @property
    def ended(self) -> bool:
        return self._position == self._entries

    def take(self, limit: int) -> list[bytearray]:
        """Return the next documents, `limit` at most, as elements of one array."""
        parts: list[bytearray] = []
        first = self._position
        end = min(self._entries, first + min(limit, self._pool.per_reply))
        while self._position < end:
            cycle, place = divmod(self._position, DISTINCT)
            upper = min(DISTINCT, place + end - self._position)
            parts.append(self._pool.elements(range(place, upper), cycle, self._position - first))
            self._position += upper - place
        return parts


class LookupCursor:
    """What is left of a look-up of documents by their ids; they come in the order of their ids."""

    def __init__(self, pool: Pool, cycles: np.ndarray, places: np.ndarray) -> None:
        self._pool = pool
        known = pool.known[places]
        order = np.lexsort((places[known], cycles[known]))
        self._cycles, self._places = cycles[known][order], places[known][order]

    @property
    def ended(self) -> bool:
        return not len(self._places)

    def take(self, limit: int) -> list[bytearray]:
        """Return the next documents, `limit` at most, as elements of one array."""
        count = min(limit, self._pool.per_reply)
        cycles, places = self._cycles[:count], self._places[:count]
        self._cycles, self._places = self._cycles[count:], self._places[count:]
        parts: list[bytearray] = []
        sent = 0
        while sent < len(places):
            cycle = int(cycles[sent])
            upper = int(np.searchsorted(cycles, cycle, side="right"))
            parts.append(self._pool.elements(places[sent:upper], cycle, sent))
            sent = upper
        return parts


Cursor: TypeAlias = ScanCursor | LookupCursor


def _places(data: bytes, prefix: bytes) -> list[int]:
    """Tell where the cycle stands behind each occurrence of an id's prefix."""
    found = []
    at = data.find(prefix)
    while at >= 0:
        found.append(at + len(prefix))
        at = data.find(prefix, at + 1)
    return found


def object_ids(array: bytes) -> np.ndarray:
    """Return the ObjectIds of a BSON array as rows of 12 bytes; raises ValueError when it holds anything else."""
    found, position, digits = [], 4, 1
    while array[position]:
        size = digits + 14
        count = min(9 * 10 ** (digits - 1) + (digits == 1), (len(array) - 1 - position) // size)
        block = np.frombuffer(array, np.uint8, count * size, position).reshape(count, size)
        if not count or (block[:, 0] != 7).any() or (block[:, digits + 1] != 0).any():
            raise ValueError("the replay server looks up ObjectIds only")
        found.append(block[:, -12:])
        position, digits = position + count * size, digits + 1
    return np.concatenate(found) if found else np.empty((0, 12), np.uint8)


def places_of(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return cycle and place of each id; ids of no fan are left out."""
    ours = ids[(ids[:, :8] == np.frombuffer(ID_PREFIX, np.uint8)).all(axis=1)].astype(np.int64)
    places = ours[:, 10] * 256 + ours[:, 11]
    cycles = ours[:, 8] * 256 + ours[:, 9]
    return cycles[places < DISTINCT], places[places < DISTINCT]
