"""What a client asks MongoDB."""

from __future__ import annotations

from typing import Any

from pymongo.monitoring import CommandListener


class Commands(CommandListener):
    """Notes the name of every command that is sent, and the last one whole; one of a client's `event_listeners`."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.last: Any = {}

    def started(self, event: Any) -> None:
        self.names.append(event.command_name)
        self.last = event.command

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass
