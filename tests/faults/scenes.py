"""A worker in a process of its own, and the points of its run at which a test can hold it.

The points are reached from outside: the proxies see a command or a request go by and keep it until they are told to
let it go. Nothing in the worker knows about it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.api_client import wait_for
from tests.reaping import reap
from tests.s3_faults import Run
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.cli_helpers import Cli, CliProcess
    from tests.faults.checker import Checker
    from tests.proxy import Proxy
    from tests.reaping import Reaped
    from tests.s3_proxy import S3Proxy
    from vfexport_core.queue.models import Export

LEASE_SECONDS = 1.0
SAMPLE_ROWS = 1_000
REACHED_SECONDS = 60
SINGLE, PARTS = "entries", "autoReminderEmail"


@dataclass
class Held:
    """A moment of a run: it is `reached` when the proxy keeps what goes by, which `gate` lets go."""

    reached: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def keep(self) -> None:
        self.reached.set()
        self.gate.wait(REACHED_SECONDS)


@dataclass(frozen=True)
class Point:
    """A named point of the run of an export of a type."""

    name: str
    export_type: str

    def __str__(self) -> str:
        return f"{self.export_type}: {self.name}"

    def arm(self, scene: Scene) -> Held:
        """Have the next run held here."""
        raise NotImplementedError


@dataclass(frozen=True)
class MongoPoint(Point):
    """Where a block with all of `words` goes by, the time number `occurrence`; by default one from the worker."""

    words: tuple[bytes, ...]
    occurrence: int = 1
    from_worker: bool = True

    def arm(self, scene: Scene) -> Held:
        held, seen = Held(), 0
        lock = threading.Lock()

        def look(from_worker: bool, block: bytes) -> None:
            nonlocal seen
            if from_worker is self.from_worker and all(word in block for word in self.words):
                with lock:
                    seen += 1
                    mine = seen == self.occurrence
                if mine:
                    held.keep()

        scene.mongo.on_block = look
        return held


@dataclass(frozen=True)
class S3Point(Point):
    """Where request number `occurrence` of an operation goes by, or of the one that takes its place with versions."""

    operation: str
    occurrence: int = 1
    with_versions: str | None = None

    def arm(self, scene: Scene) -> Held:
        held = Held()
        for operation in filter(None, [self.operation, self.with_versions]):
            scene.s3.fail(operation, Run(held.keep), times=1, skip=self.occurrence - 1)
        return held


POINTS = [
    MongoPoint("after its claim", SINGLE, (b"listCollections", b"entries")),
    MongoPoint("after its count", SINGLE, (b"find", b"campaigns"), occurrence=2),
    MongoPoint("in mid-scan", SINGLE, (b"getMore", b"entries")),
    S3Point("in mid-part", SINGLE, "UploadPart", occurrence=2),
    S3Point("before it completes", SINGLE, "CompleteMultipartUpload"),
    S3Point("after it completed", SINGLE, "CopyObject"),
    S3Point("after its file appeared", SINGLE, "DeleteObject", with_versions="ListObjectVersions"),
    MongoPoint("before it finishes", SINGLE, (b"findAndModify", b"FINISHED")),
    S3Point("with its first file staged", PARTS, "PutObject"),
    S3Point("with its first file visible", PARTS, "CopyObject", occurrence=2),
    MongoPoint("before it finishes", PARTS, (b"findAndModify", b"FINISHED")),
]
FINISHED_UNTOLD = MongoPoint(
    "before it learns that it finished", SINGLE, (b"FINISHED", b"updatedExisting"), from_worker=False
)


@dataclass
class Scene:
    """A campaign, a worker's surroundings, and what must be true in the end."""

    checker: Checker
    campaign: str
    cli: Cli
    mongo: Proxy
    s3: S3Proxy

    def worker(self, export_type: str) -> AbstractContextManager[CliProcess]:
        """Start a worker that asks for the export and runs it; killed in the end if it is still there."""
        return self.cli.process("export", self.campaign, export_type)

    def export(self) -> Export:
        (export,) = self.checker.store.list()
        return export

    def watch(self) -> Reaped:
        with BucketClients(self.checker.settings) as buckets:
            return reap(self.checker.store, lambda: buckets, self.checker.settings.timeout_millis)

    def watch_until_released(self) -> Export:
        """Look as a reaper does, again and again, until the running export was ended."""
        return wait_for(lambda: self.watch().ended)

    def wait_until_unused(self) -> None:
        """Wait until everything that dead processes had sent has been done."""
        self.mongo.wait_until_unused()
        self.s3.wait_until_unused()
