"""A PostgreSQL for a test, from the programs that Debian (or anybody) has put on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vfexport_core.embedded.process import HOST, ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "postgres"
# Not settings of a production server: nothing is to survive the test.
OPTIONS = {"listen_addresses": HOST, "unix_socket_directories": "", "fsync": "off", "synchronous_commit": "off"}


@dataclass(frozen=True)
class Postgres:
    """A running server with one user and an empty database of the same name."""

    port: int
    user: str
    password: str


def programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`: the newest of Debian's, else where the path has them, else None."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    return None if found is None else Path(found).parent


@contextmanager
def running_postgres(folder: Path, user: str, password: str) -> Iterator[Postgres]:
    """Run a server on 127.0.0.1 for the block, in an empty folder."""
    found = programs()
    assert found, "there is no PostgreSQL here"
    before = _as_owner()
    data, word = folder / "data", folder / "word"
    word.write_text(password)
    if before:  # root is refused by PostgreSQL itself
        for path in (folder, word):
            shutil.chown(path, OWNER)
    _run([*before, found / "initdb", "-D", data, "-U", user, f"--pwfile={word}", "-A", "scram-sha-256", "--no-sync"])
    port = free_port()
    options = [word for name, value in OPTIONS.items() for word in ("-c", f"{name}={value}")]
    command = [*before, str(found / "postgres"), "-D", str(data), "-p", str(port), *options]
    environment = {**os.environ, "PGPASSWORD": password}
    with ServerProcess("PostgreSQL", command, folder / "log", stop_seconds=10, environment=os.environ) as server:
        at = ["-h", HOST, "-p", str(port), "-U", user]
        server.wait_until(lambda: _succeeds([found / "pg_isready", *at]))
        _run([found / "createdb", *at, "--maintenance-db=postgres", user], environment)
        yield Postgres(port, user, password)


def _as_owner() -> list[str]:
    return ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"] if os.geteuid() == 0 else []


def _run(command: list[str | Path], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _succeeds(command: list[str | Path]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
