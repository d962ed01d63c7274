"""The process of the embedded S3: moto's applications, served on a port that is written to a file once it listens.

Run as a script (``python -P s3_process.py PORT PORT_FILE``), which needs nothing else of the service; PORT 0 lets the
kernel choose. moto's own command neither says which port it got nor keeps connections open, and each request on a new
connection costs more than the request; to find out which of all services a request is for costs as much again.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from flask import Flask
    from moto.backends import SERVICE_NAMES


class KeepAliveHandler(MotoRequestHandler):
    """HTTP/1.1, and no line per request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        del code, size


@functools.cache
def service(name: SERVICE_NAMES) -> Flask:
    """Make moto's application for a service of AWS."""
    return create_backend_app(name)


def application(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serve S3, and whatever is signed for STS, which gives the credentials of a role."""
    is_sts = "/sts/aws4_request" in environment.get("HTTP_AUTHORIZATION", "")
    return service("sts" if is_sts else "s3")(environment, start_response)


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    port, port_file = int(arguments[0]), Path(arguments[1])
    server = make_server("127.0.0.1", port, application, threaded=True, request_handler=KeepAliveHandler)
    draft = port_file.with_suffix(".draft")
    draft.write_text(str(server.server_address[1]))
    draft.rename(port_file)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
