"""The API as it runs in production: uvicorn with worker processes, over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.api_client import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import httpx

PROGRAM = """
import sys
from vfexport_core.api.server import serve
from vfexport_core.settings import load_settings
serve(load_settings(None), port=int(sys.argv[1]), workers=int(sys.argv[2]))
"""

WORKERS = 2
_SECONDS = 200
"""How long a start or an end may take where everything else runs at the same time: below the limit of a test."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Server:
    """A server process and where it logs."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process, self.url, self._log = process, url, log
        self.was_killed = False

    def kill(self) -> None:
        """End the process that the others were started by, which cannot tell them."""
        self.was_killed = True
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        return self._log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines()]


@contextmanager
def running_server(environment: Mapping[str, str], log: Path) -> Iterator[Server]:
    """Run the API from its start to its end, clean unless it is killed; its log goes to the file `log`."""
    port = free_port()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(port), str(WORKERS)], env=os.environ | dict(environment), stderr=stream
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        wait_for(lambda: server.log().count("Application startup complete") == WORKERS or process.poll(), _SECONDS)
        assert process.poll() is None, server.log()
        yield server
        if server.was_killed:
            return
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(_SECONDS) == 0
        assert server.log().count("Application shutdown complete") == WORKERS
        assert "Traceback" not in server.log()
    finally:
        process.kill()
        process.wait()


def make_token(http: httpx.Client, **fields: Any) -> str:
    response = http.post("/dev/token", json={"userId": "admin-1", "permissions": {"*": ["REPORT"]}, **fields})
    assert response.status_code == 200
    return response.json()["token"]
