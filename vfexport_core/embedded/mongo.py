"""SecantusDB, a server that speaks MongoDB's wire protocol on WiredTiger, as a process of its own.

For the demo and for tests only; it is not imported here, so that only those need it installed. Its quirks, and where
they are met, all in one place:

- `--config EMPTY_FILE`: without it the server picks up configuration files from the working or home directory.
- `--sync-on-commit`: without it a kill -9 loses acknowledged writes. It makes single writes wait for the disk (dropping
  a database of 1,200 entries takes 10 s instead of 1 s), so tests whose server dies with its data go without
  (`durable=False`).
- It refuses documents that MongoDB takes: bytes in a string that are not UTF-8, dates beyond the years 1-9999.
- `--enable-test-commands` (parameter `test_commands`): `configureFailPoint` for fault tests; never for the demo.
- `directConnection=true` in the URI: it calls itself a replica set of one.
- It takes 3.5 s to stop when asked; tests set `stop_seconds=0` and kill it, which loses nothing (see above).
- `$in` is quadratic in the number of ids: LOOKUP_BATCH is 100 in environment.py.
- Ranges and `$in` on a whole embedded-document `_id` scan the collection: synthetic campaigns come with the compound
  index on `_id.campaign_id, _id.user_id`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from vfexport_core.embedded.process import HOST, ServerProcess, free_port
from vfexport_core.errors import EmbeddedServerFailed

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

CACHE_SIZE = "256M"
PROCESS = Path(__file__).with_name("mongo_process.py")
START_ATTEMPTS = 5


@dataclass(frozen=True)
class MongoServer:
    """A running server: its URI, its address and its process id."""

    uri: str
    port: int
    pid: int
    host: str = HOST


@contextlib.contextmanager
def embedded_mongo(
    folder: Path,
    *,
    port: int = 0,
    test_commands: bool = False,
    durable: bool = True,
    stop_seconds: float = 10.0,
    cache_size: str = CACHE_SIZE,
) -> Generator[MongoServer]:
    """Run a MongoDB server on `port` (0: a free one) with its data in `folder`; on leaving, stop it.

    Data is kept: a later server in the same folder has it, with `durable` also what was acknowledged just before a
    crash. On leaving it gets `stop_seconds` to stop by itself. `test_commands` allows `configureFailPoint`.
    What does not fit into `cache_size` (`256M`) is read from disk again and again, slowly.
    Raises `EmbeddedServerFailed` with the end of its log when it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flags = ["--cache-size", cache_size]
    flags += [*(["--enable-test-commands"] if test_commands else []), *(["--sync-on-commit"] if durable else [])]
    process, used_port = _start(folder, port, flags, stop_seconds)
    with process:
        yield MongoServer(f"mongodb://{HOST}:{used_port}/?directConnection=true", used_port, process.pid)


def _start(folder: Path, port: int, flags: list[str], stop_seconds: float) -> tuple[ServerProcess, int]:
    """Start the server and wait for it; on a port of our choice, try another one when somebody else was faster."""
    for attempt in range(START_ATTEMPTS):
        used_port = port or free_port()
        process = ServerProcess(
            "MongoDB server",
            [*_command(folder, used_port), *flags],
            folder / "server.log",
            stop_seconds=stop_seconds,
            environment={**os.environ, "TMPDIR": str(folder)},
        )
        try:
            process.wait_until(lambda port=used_port, pid=process.pid: _is_ready(port, pid))
        except EmbeddedServerFailed as error:
            process.stop()
            if port or "Address already in use" not in error.message or attempt + 1 == START_ATTEMPTS:
                raise
        except BaseException:
            process.stop()
            raise
        else:
            return process, used_port
    raise AssertionError  # the last attempt returned or raised


def _command(folder: Path, port: int) -> list[str]:
    empty = folder / "empty.toml"
    empty.touch()
    return [
        *(sys.executable, "-P", str(PROCESS), "--config", str(empty)),
        *("--host", HOST, "--port", str(port), "--storage-path", str(folder / "data")),
        *("--log-level", "WARNING"),
    ]


def _is_ready(port: int, pid: int) -> bool:
    """Whether it is *our* server that answers there: another one may have taken the port first."""
    client: MongoClient[dict[str, Any]] = MongoClient(
        HOST, port, directConnection=True, serverSelectionTimeoutMS=500, connectTimeoutMS=2_000, socketTimeoutMS=2_000
    )
    with client:
        try:
            client.admin.command("ping")
            return (
                "secantusVersion" in client.admin.command("buildInfo")
                and client.admin.command("serverStatus")["pid"] == pid
            )
        except PyMongoError:
            return False
