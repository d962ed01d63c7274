"""The `vfexport` command: a thin shell over the service; see ``app`` for the commands, ``errors`` for exit statuses."""

from __future__ import annotations

from vfexport_core.cli.app import main

__all__ = ["main"]
