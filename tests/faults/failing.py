"""How MongoDB and S3 fail in tests, and who has MongoDB fail at one chosen command of a client."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymongo.monitoring import CommandListener

from tests.s3_faults import Answer, Reset

if TYPE_CHECKING:
    from pymongo import MongoClient

    from tests.s3_faults import Fault

APP = "failing-servers"
S3_FAULTS: dict[str, Fault] = {"500": Answer(), "503": Answer(503, "SlowDown"), "reset": Reset()}
# What a replica set answers while it elects a primary, and a connection that breaks.
MONGO_FAULTS: dict[str, dict[str, Any]] = {"error": {"errorCode": 189}, "closed": {"closeConnection": True}}
COMMANDS = ["find", "aggregate", "getMore", "listCollections", "listIndexes", "findAndModify", "update", "delete"]
COMMANDS += ["distinct", "insert", "count"]


@dataclass
class FailPoint(CommandListener):
    """Hears of the commands of clients that are called `APP`, and has the server fail some of these."""

    admin: MongoClient[Any]

    def set(self, mode: Any, commands: list[str], fault: dict[str, Any]) -> None:
        data = {"failCommands": commands, "appName": APP, **fault}
        self.admin.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})

    def heal(self) -> None:
        self.admin.admin.command({"configureFailPoint": "failCommand", "mode": "off"})

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


@dataclass
class Saboteur(FailPoint):
    """Has a command of the clients that it listens to fail, by its number: once, or it and all that follow.

    `seen` are the commands since then, `failures` those of them that failed.
    """

    fault: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    for_good: bool = False
    seen: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    counting: threading.Lock = field(default_factory=threading.Lock)

    def listen(self) -> None:
        """Have nothing fail from now on."""
        self.fail_at(0, {})

    def fail_at(self, number: int, fault: dict[str, Any], *, for_good: bool = False) -> None:
        """Have command `number` (the first is 1) fail."""
        self.seen.clear()
        self.failures.clear()
        self.fault, self.number, self.for_good = fault, number, for_good

    def heal(self) -> None:
        self.number = 0
        super().heal()

    def started(self, event: Any) -> None:
        if event.command_name in {"endSessions", "killCursors"}:
            return
        with self.counting:  # commands come from several threads
            self.seen.append(event.command_name)
            is_it = len(self.seen) == self.number
        if is_it and self.for_good:
            assert event.command_name in COMMANDS
            self.set("alwaysOn", COMMANDS, self.fault)
        elif is_it:
            self.set({"times": 1}, [event.command_name], self.fault)

    def failed(self, event: Any) -> None:
        self.failures.append(event.command_name)
