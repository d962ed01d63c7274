"""moto's S3 as a process of its own; for the demo and for tests only, and not imported here.

Objects live in that process and are gone with it; large ones are spooled to its temporary folder. ACLs and expiry of
signed URLs are not enforced; a signed URL or a key of any value is accepted.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vfexport_core.embedded.process import HOST, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Generator

REGION = "us-east-1"
PROCESS = Path(__file__).with_name("s3_process.py")
# Known to everybody, for a server that only listens on 127.0.0.1 and checks nothing.
DUMMY_KEY = "embedded"
# Looked up once, these would make moto ask the (absent) cloud or write outside the folder.
QUIET = {"AWS_EC2_METADATA_DISABLED": "true", "MOTO_S3_CUSTOM_ENDPOINTS": ""}


@dataclass(frozen=True)
class S3Server:
    """A running server: its endpoint URL, its process id, and what clients need to reach it."""

    endpoint_url: str
    pid: int
    access_key_id: str = DUMMY_KEY
    secret_access_key: str = DUMMY_KEY
    region: str = REGION


@contextlib.contextmanager
def embedded_s3(folder: Path, *, port: int = 0, stop_seconds: float = 2.0) -> Generator[S3Server]:
    """Run an S3 server on `port` (0: a free one), temporary files in `folder`; on leaving, stop it.

    Raises `EmbeddedServerFailed` with the end of its log when it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    process = ServerProcess(
        "S3 server",
        [sys.executable, "-P", str(PROCESS), str(port), str(port_file)],
        folder / "server.log",
        stop_seconds=stop_seconds,
        environment={**os.environ, **QUIET, "TMPDIR": str(folder)},
    )
    with process:
        process.wait_until(port_file.exists)
        used_port = int(port_file.read_text())
        process.wait_until(lambda: _answers(used_port))
        yield S3Server(f"http://{HOST}:{used_port}", process.pid)


def _answers(port: int) -> bool:
    """Whether the list of buckets can be had; the first request also makes moto load its S3 part."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=embedded/20200101/us-east-1/s3/aws4_request"}
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/", headers=headers)
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
