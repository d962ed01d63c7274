"""`vfexport api`."""

from __future__ import annotations

import click

from vfexport_core.api.server import serve
from vfexport_core.settings import load_settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="The port to listen on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer.")
def api(*, host: str, port: int, workers: int) -> None:
    """Serve the HTTP API until Ctrl-C. Its documentation is at /docs."""
    serve(load_settings(), host=host, port=port, workers=workers)
