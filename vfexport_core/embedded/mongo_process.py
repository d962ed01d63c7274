"""The process of the embedded MongoDB: SecantusDB, which keeps what it knows of collections while that stays the same.

Run as a script, with the server's own arguments. For every command the server reads and decodes all indexes of the
collection anew, several times, which is up to half of what a command takes where there are ten of them. Here each
connection keeps them until some command may have changed them. This leans on what SecantusDB does not promise; the
version is fixed, and tests/integration/test_embedded.py says what has to hold.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import secantus.server
from secantus.cli import main
from secantus.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from secantus.commands import CommandContext

# They change no index and no options of a collection that exists. What is not among them may.
_HARMLESS = frozenset(
    {"hello", "ismaster", "ping", "buildInfo", "serverStatus", "configureFailPoint", "endSessions", "killCursors"}
    | {"find", "getMore", "count", "distinct", "listIndexes", "listCollections", "explain"}
    | {"insert", "update", "delete", "findAndModify"}
)
_WRITING_STAGES = frozenset({"$out", "$merge"})

Index = tuple[str, dict[str, Any], dict[str, Any]]
Dispatch: TypeAlias = "Callable[[dict[str, Any], CommandContext], dict[str, Any]]"


class Known(threading.local):
    """What the thread of a connection knows of collections, and of which version of everything."""

    def __init__(self) -> None:
        self.version = -1
        self.is_used = False
        self.indexes: dict[tuple[str, str], list[Index]] = {}
        self.options: dict[tuple[str, str], dict[str, Any]] = {}


class Memory:
    """Says whether what was read once is still true: it is until a command begins that may change it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = 0
        self._changing = 0
        self._known = Known()

    def dispatch(self, execute: Dispatch, command: dict[str, Any], context: CommandContext) -> dict[str, Any]:
        """Execute a command; what is kept serves the harmless ones alone."""
        if _is_harmless(command):
            self._known.is_used = True
            try:
                return execute(command, context)
            finally:
                self._known.is_used = False
        with self._lock:
            self._changing += 1
        try:
            return execute(command, context)
        finally:
            with self._lock:
                self._changing -= 1
                self._version += 1

    def known(self) -> Known | None:
        """Return what this thread knows, if it may be used at this moment."""
        known = self._known
        with self._lock:
            if self._changing or not known.is_used:
                return None
            version = self._version
        if known.version != version:
            known.version = version
            known.indexes.clear()
            known.options.clear()
        return known

    def indexes(
        self, read: Callable[[Storage, str, str], Iterable[Index]], storage: Storage, database: str, collection: str
    ) -> Iterator[Index]:
        known, name = self.known(), (database, collection)
        found = known.indexes.get(name) if known else None
        if found is None:
            found = list(read(storage, database, collection))
            if known and found:  # the first write may make the collection
                known.indexes[name] = found
        return iter(found)

    def options(
        self,
        read: Callable[[Storage, str, str], dict[str, Any] | None],
        storage: Storage,
        database: str,
        collection: str,
    ) -> dict[str, Any] | None:
        known, name = self.known(), (database, collection)
        found = known.options.get(name) if known else None
        if found is None:
            found = read(storage, database, collection)
            if known and found and "uuid" in found:  # it gets one when it is first needed
                known.options[name] = found
        return None if found is None else dict(found)


def _is_harmless(command: dict[str, Any]) -> bool:
    name = next(iter(command))
    if name == "aggregate":
        return not any(_WRITING_STAGES & stage.keys() for stage in command["pipeline"])
    return name in _HARMLESS


def remember() -> None:
    """Have the server keep what it knows."""
    memory = Memory()
    execute = secantus.server.dispatch
    read_indexes = Storage._iter_indexes  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] see the module
    read_options = Storage._coll_options  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def dispatch(doc: dict[str, Any], ctx: CommandContext) -> dict[str, Any]:
        return memory.dispatch(execute, doc, ctx)

    def indexes(self: Storage, db: str, coll: str) -> Iterable[Index]:
        return memory.indexes(read_indexes, self, db, coll)

    def options(self: Storage, db: str, coll: str) -> dict[str, Any] | None:
        return memory.options(read_options, self, db, coll)

    secantus.server.dispatch = dispatch
    Storage._iter_indexes = indexes  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    Storage._coll_options = options  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


if __name__ == "__main__":
    remember()
    raise SystemExit(main())
