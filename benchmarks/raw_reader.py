"""The server's own limit: what comes over one connection when nothing is done with it but counting bytes.

The queries are encoded before the clock starts and their answers are not looked at, so that what is left is the replay
server and the loopback. It reads the values that the pipeline reads: the entries, then the users of each thousand.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

import bson
from plain_exporter import ENTRY_PATHS, SCORE_PATHS, USER_PATHS
from replay_data import user_id

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_BODY_AT = 16 + 4 + 1  # header, flags, kind of section
_BATCH_DOCUMENTS = 4_000
_CURSOR_ID = b"\x12id\0"


class RawReader:
    """Reads one campaign over a connection of its own."""

    def __init__(self, port: int, campaign_id: bson.ObjectId, export_type: str, lookup_batch: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(2**24)
        more = SCORE_PATHS if export_type == "scoring" else ("fields.newsletter", "fields.heard_from")
        project = {**_renamed((*ENTRY_PATHS, *more)), "r": "$_id"}
        self._scan = _aggregate("entries", {"$gte": {"campaign_id": str(campaign_id)}}, project, _BATCH_DOCUMENTS)
        self.rows, _ = self._read_entries()
        self._lookups = [
            _aggregate("users", {"$in": ids}, {"c": "$_id", **_renamed(USER_PATHS)}, len(ids) + 1)
            for start in range(0, self.rows, lookup_batch)
            if (ids := [user_id(index) for index in range(start, min(start + lookup_batch, self.rows))])
        ]

    def read(self) -> int:
        """Read everything and give the bytes of the answers."""
        _, received = self._read_entries()
        return received + sum(len(self._ask(lookup)) for lookup in self._lookups)

    def close(self) -> None:
        self._socket.close()

    def _read_entries(self) -> tuple[int, int]:
        """Return the number of entries and the bytes of the answers; every batch but the last one is full."""
        answer = self._ask(self._scan)
        received, batches = len(answer), 1
        while cursor_id := _cursor_id(answer):
            more = {"getMore": cursor_id, "collection": "entries", "batchSize": _BATCH_DOCUMENTS, "$db": "verifiedfan"}
            answer = self._ask(_message(more))
            received, batches = received + len(answer), batches + 1
        cursor = bson.decode(bytes(answer[_BODY_AT:]))["cursor"]
        last = cursor["firstBatch"] if batches == 1 else cursor["nextBatch"]
        return (batches - 1) * _BATCH_DOCUMENTS + len(last), received

    def _ask(self, message: bytes) -> memoryview:
        """Send one command and receive its answer, which is there until the next one comes."""
        self._socket.sendall(message)
        view, got, wanted = memoryview(self._buffer), 0, _HEADER.size
        while got < wanted:
            received = self._socket.recv_into(view[got:])
            if not received:
                raise ConnectionError("the replay server has gone")
            got += received
            if got >= _HEADER.size:
                wanted = _HEADER.unpack_from(view)[0]
        return view[:wanted]


def _renamed(paths: tuple[str, ...]) -> dict[str, Any]:
    return {"_id": 0, **{f"c{index}": f"${path}" for index, path in enumerate(paths)}}


def _aggregate(collection: str, match: dict[str, Any], project: dict[str, Any], batch_documents: int) -> bytes:
    pipeline = [{"$match": {"_id": match}}, {"$project": project}]
    return _message(
        {
            "aggregate": collection,
            "pipeline": pipeline,
            "cursor": {"batchSize": batch_documents},
            "$db": "verifiedfan",
        }
    )


def _message(command: dict[str, Any]) -> bytes:
    body = bson.encode(command)
    return _HEADER.pack(_BODY_AT + len(body), 1, 0, _OP_MSG) + bytes(_BODY_AT - _HEADER.size) + body


def _cursor_id(answer: memoryview) -> bson.Int64:
    """Find the cursor's id, which stands behind the batch; 0 when there is no more."""
    tail = bytes(answer[-128:])
    at = tail.rindex(_CURSOR_ID) + len(_CURSOR_ID)
    return bson.Int64(int.from_bytes(tail[at : at + 8], "little"))
