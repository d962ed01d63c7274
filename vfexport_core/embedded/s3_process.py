"""The process of the embedded S3: moto's application, served on a port that is written to a file once it listens.

Run as ``python -m vfexport_core.embedded.s3_process PORT PORT_FILE``; PORT 0 lets the kernel choose. moto's own command
neither says which port it got nor keeps connections open, and each request on a new connection costs more than the
request.
"""

from __future__ import annotations

import sys
from pathlib import Path

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class KeepAliveHandler(MotoRequestHandler):
    """HTTP/1.1, and no line per request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        del code, size


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    port, port_file = int(arguments[0]), Path(arguments[1])
    server = make_server("127.0.0.1", port, create_backend_app("s3"), threaded=True, request_handler=KeepAliveHandler)
    draft = port_file.with_suffix(".draft")
    draft.write_text(str(server.server_address[1]))
    draft.rename(port_file)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
