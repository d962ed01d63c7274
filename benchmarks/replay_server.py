"""A MongoDB that answers from memory: the wire protocol, a campaign of any size, and next to no work per document.

An embedded server bounds what a benchmark of an exporter can see; this one does not. It speaks OP_MSG and knows what
the exporters ask: a scan of one campaign's entries (``aggregate`` with a flat ``$project``, or ``find`` with a
projection), users by ``$in`` of their ids, campaigns, markets, and the commands by which a driver meets a server.
Whatever else it is asked, it refuses. Batches are of the size that the client asks for, and of 16 MiB at most.

    python benchmarks/replay_server.py --entries 100000     prints its port, and ends when its standard input does
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import socket
import struct
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, TypeAlias

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from replay_data import CAMPAIGN_ID, CYCLES, DISTINCT, WARM_UP_ENTRIES, WARM_UP_ID, Fans, campaign, markets
from replay_pool import Cursor, LookupCursor, Pool, ScanCursor, flat, nested, object_ids, places_of

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_MORE_TO_COME = 2
_REPLY_AT = 16 + 4 + 1  # header, flags, kind of section
_FIRST_BATCH = 101  # what MongoDB sends first when the client names no batchSize
_MANY = 2**31 - 1
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
# A reply's document in pieces, in their order: what is large is sent from where it is, not copied once more.
Reply: TypeAlias = list[bytes | bytearray]
_ARRAY_OF_IN = 4 + len(b"\x04$in\0")
_COLLECTIONS = ("campaigns", "entries", "markets", "users")
_HELLO = {
    "isWritablePrimary": True,
    "ismaster": True,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "maxBsonObjectSize": 16 * 2**20,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "logicalSessionTimeoutMinutes": 30,
    "readOnly": False,
}


class Refused(Exception):
    """A command, or a form of it, that this server does not know."""


class Replay:
    """The server's data and its open cursors."""

    def __init__(self, entries: int, fans: Fans, delay: float) -> None:
        self._delay = delay
        self._entries = {CAMPAIGN_ID: entries, WARM_UP_ID: min(entries, WARM_UP_ENTRIES)}
        self._fans = fans
        self._pools: dict[str, Pool] = {}
        self._cursors: dict[int, tuple[Cursor, str]] = {}
        self._cursor_ids = itertools.count(1)
        self._lock = threading.Lock()
        self._small = {
            "campaigns": [campaign(each) for each in self._entries],
            "markets": [market for each in self._entries for market in markets(each)],
        }

    def answer(self, command: RawBSONDocument) -> Reply:
        """Return the reply's document, encoded; raises Refused."""
        name = next(iter(command))
        if self._delay and name in {"find", "aggregate", "getMore"}:
            time.sleep(self._delay)  # a thread per connection: others are answered meanwhile
        match name:
            case "find" | "aggregate":
                return self._query(name, command)
            case "getMore":
                return self._more(command)
            case "killCursors":
                return self._kill(list(command["cursors"]))
            case _:
                return _simple_answer(name)

    def _kill(self, cursor_ids: list[int]) -> Reply:
        for cursor_id in cursor_ids:
            self._cursors.pop(cursor_id, None)
        return _ok({"cursorsKilled": cursor_ids})

    def _query(self, name: str, command: RawBSONDocument) -> Reply:
        collection = command[name]
        namespace = f"{command['$db']}.{collection}"
        if collection in self._small:
            wanted = bson.decode(command["filter"].raw)
            chosen = [each for each in self._small[collection] if _matches(each, wanted)]
            return _small_reply(chosen, namespace)
        if name == "find":
            match, shape, cut = command.get("filter") or {}, command.get("projection") or {}, nested
            batch = command.get("batchSize")
        else:
            if (count := self._count(command["pipeline"])) is not None:
                return _small_reply([{"_id": 1, "n": count}], namespace)
            stages = dict(itertools.chain.from_iterable(stage.items() for stage in command["pipeline"]))
            match, shape, cut = stages["$match"], stages["$project"], flat
            batch = command["cursor"].get("batchSize")
        cursor = self._open(collection, match.get("_id"), dict(shape), cut)
        return self._reply(cursor, namespace, _FIRST_BATCH if batch is None else int(batch), "firstBatch", None)

    def _count(self, stages: list[RawBSONDocument]) -> int | None:
        """Return the number of documents if that is what is asked for, as the driver's `count_documents` does."""
        if "$group" not in stages[-1]:
            return None
        return self._entries[bson.ObjectId(stages[0]["$match"]["_id"]["$gte"]["campaign_id"])]

    def _open(self, collection: str, selection: RawBSONDocument | None, shape: dict[str, Any], cut: Any) -> Cursor:
        pool = self._pool(collection, shape, cut)
        if collection == "entries":
            campaign_id = CAMPAIGN_ID if selection is None else bson.ObjectId(selection["$gte"]["campaign_id"])
            return ScanCursor(pool, self._entries[campaign_id])
        assert selection is not None, "users are looked up by their ids"
        return LookupCursor(pool, *places_of(object_ids(selection.raw[_ARRAY_OF_IN:-1])))

    def _pool(self, collection: str, shape: dict[str, Any], cut: Any) -> Pool:
        key = f"{collection} {cut.__name__} {shape}"
        with self._lock:
            if key not in self._pools:
                documents = {"entries": self._fans.entries, "users": self._fans.users}[collection]
                self._pools[key] = Pool([each and cut(each, shape) for each in documents])
            return self._pools[key]

    def _more(self, command: RawBSONDocument) -> Reply:
        cursor_id = int(command["getMore"])
        if cursor_id not in self._cursors:
            return [bson.encode({"ok": 0.0, "code": 43, "codeName": "CursorNotFound", "errmsg": "no such cursor"})]
        cursor, namespace = self._cursors[cursor_id]
        return self._reply(cursor, namespace, int(command.get("batchSize") or _MANY), "nextBatch", cursor_id)

    def _reply(self, cursor: Cursor, namespace: str, limit: int, field: str, cursor_id: int | None) -> Reply:
        elements = cursor.take(limit)
        if cursor.ended:
            self._cursors.pop(cursor_id or 0, None)
            cursor_id = 0
        elif cursor_id is None:
            cursor_id = next(self._cursor_ids)
            self._cursors[cursor_id] = (cursor, namespace)
        return _cursor_reply(elements, field, cursor_id, namespace)


def _simple_answer(name: str) -> Reply:
    match name:
        case "hello" | "ismaster" | "isMaster":
            return _ok({**_HELLO, "localTime": datetime.now(UTC)})
        case "ping" | "endSessions":
            return _ok({})
        case "buildInfo":
            return _ok({"version": "7.0.0", "versionArray": [7, 0, 0, 0]})
        case "listCollections":
            return _small_reply([{"name": each, "type": "collection"} for each in _COLLECTIONS], "$cmd.listCollections")
        case "listIndexes":
            return _small_reply([{"v": 2, "key": {"_id": 1}, "name": "_id_"}], "$cmd.listIndexes")
    raise Refused(f"command {name}")


def _matches(document: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether a document has these values: each one, or one of a list given by ``$in``."""
    return all(
        document.get(name) in (value["$in"] if isinstance(value, dict) else [value]) for name, value in wanted.items()
    )


def _ok(document: dict[str, Any]) -> Reply:
    return [bson.encode({**document, "ok": 1.0})]


def _small_reply(documents: list[dict[str, Any]], namespace: str) -> Reply:
    return _ok({"cursor": {"firstBatch": documents, "id": bson.Int64(0), "ns": namespace}})


def _cursor_reply(elements: Reply, field: str, cursor_id: int, namespace: str) -> Reply:
    """Write ``{cursor: {<field>: [...], id, ns}, ok: 1}`` around elements that are encoded already."""
    rest = bson.encode({"id": bson.Int64(cursor_id), "ns": namespace})[4:]
    name = b"\x04" + field.encode() + b"\0"
    array_bytes = 4 + sum(map(len, elements)) + 1
    cursor_bytes = 4 + len(name) + array_bytes + len(rest)
    tail = b"\0" + rest + bson.encode({"ok": 1.0})[4:]
    head = b"\x03cursor\0" + struct.pack("<i", cursor_bytes) + name + struct.pack("<i", array_bytes)
    total = 4 + len(head) + array_bytes - 5 + len(tail)
    return [struct.pack("<i", total) + head, *elements, tail]


def _receive(connection: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view, got = memoryview(data), 0
    while got < count:
        received = connection.recv_into(view[got:])
        if not received:
            raise ConnectionError("closed by the client")
        got += received
    return data


def _command(connection: socket.socket) -> tuple[int, RawBSONDocument]:
    """Receive one command and its request id; raises ConnectionError when the client has gone or speaks otherwise."""
    length, request, _, opcode = _HEADER.unpack(_receive(connection, _HEADER.size))
    message = bytes(_receive(connection, length - _HEADER.size))
    flags, size = int.from_bytes(message[:4], "little"), int.from_bytes(message[5:9], "little")
    if opcode != _OP_MSG or message[4] or flags & _MORE_TO_COME:
        raise ConnectionError(f"not a plain OP_MSG: opcode {opcode}, flags {flags}")
    return request, RawBSONDocument(message[5 : 5 + size], _RAW)


def serve(connection: socket.socket, replay: Replay) -> None:
    """Answer one connection's commands until the client closes it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, contextlib.suppress(ConnectionError):
        while True:
            request, command = _command(connection)
            try:
                reply = replay.answer(command)
            except Exception as error:  # noqa: BLE001 whatever it is, the client has to hear of it
                reply = [bson.encode({"ok": 0.0, "code": 59, "errmsg": f"the replay server cannot: {error!r}"})]
            head = _HEADER.pack(_REPLY_AT + sum(map(len, reply)), 0, request, _OP_MSG) + bytes(_REPLY_AT - _HEADER.size)
            reply[0] = head + reply[0]
            for piece in reply:
                connection.sendall(piece)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000, help="entries of the campaign")
    parser.add_argument("--dirty", type=float, default=0.0, help="share of documents with a value of another BSON type")
    parser.add_argument("--nested", action="store_true", help="each user's first name is a document")
    parser.add_argument("--reply-delay", type=float, default=0.0, help="seconds that every answer takes longer")
    parser.add_argument("--seed", type=int, default=2024)
    arguments = parser.parse_args()
    if not 0 < arguments.entries <= CYCLES * DISTINCT:
        parser.error(f"--entries must be 1 to {CYCLES * DISTINCT}")
    replay = Replay(
        arguments.entries, Fans(arguments.seed, arguments.dirty, nested=arguments.nested), arguments.reply_delay
    )
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, replay), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
    os._exit(0)


def _accept(listener: socket.socket, replay: Replay) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, replay), daemon=True).start()


if __name__ == "__main__":
    main()
