"""What a client asks MongoDB."""

from __future__ import annotations

from typing import Any

from pymongo.monitoring import CommandListener


class Commands(CommandListener):
    """Notes the name of every command that is sent; give it to a client as one of its `event_listeners`."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: Any) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass
