"""Rules for an S3 that fails: which requests, how, how often. `tests/s3_proxy.py` applies them.

Operations have the names of the S3 API (``UploadPart``); the first rule that matches a request decides.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

NO_REFUSAL_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """S3's error `code` with this status (or this `body`), sent instead of passing the request on.

    With `after` the request is passed on nevertheless.
    """

    status: int = 500
    code: str = "InternalError"
    after: bool = False
    body: str | None = None

    @property
    def text(self) -> str:
        error = f'<?xml version="1.0"?><Error><Code>{self.code}</Code><Message>injected</Message></Error>'
        return error if self.body is None else self.body


@dataclass(frozen=True)
class Reset:
    """The connection is reset before the request has reached S3."""


@dataclass(frozen=True)
class LoseAnswer:
    """S3 does what is asked, and the connection is reset before the answer comes back."""


@dataclass(frozen=True)
class Hold:
    """The request waits for `gate`, then goes on."""

    gate: threading.Event


@dataclass(frozen=True)
class Run:
    """`action` is called (in the proxy's thread), then the request goes on."""

    action: Callable[[], object]


@dataclass
class Spare:
    """S3 deletes what DeleteObjects asks for but object `number` (the first is 0), whenever it is asked for again.

    Of that one it says `code`.
    """

    number: int
    code: str
    spared: bytes = b""

    def split(self, request: bytes) -> tuple[bytes, bytes]:
        """Return the request without that object, and what to add to the answer; nothing when it is not in there."""
        objects = re.findall(rb"<Object>.*?</Object>", request, re.DOTALL)
        if not self.spared and self.number < len(objects):
            self.spared = objects[self.number]
        if self.spared not in objects:
            return request, b""
        names = self.spared.removeprefix(b"<Object>").removesuffix(b"</Object>")
        error = b"<Error>%b<Code>%b</Code><Message>injected</Message></Error>" % (names, self.code.encode())
        return request.replace(self.spared, b"", 1), error


@dataclass
class Backlog:
    """S3 does not do more than `limit` requests at a time, and answers SlowDown to the others.

    Those that it does first take until another one has been refused.
    """

    limit: int
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    refused: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def room(self) -> Generator[bool]:
        """Return whether this request is done, and count it meanwhile."""
        with self.lock:
            has_room = self.under_way < self.limit
            self.under_way += has_room
        if not has_room:
            self.refused.set()
            yield False
            return
        self.refused.wait(NO_REFUSAL_SECONDS)
        try:
            yield True
        finally:
            with self.lock:
                self.under_way -= 1


Fault = Answer | Reset | LoseAnswer | Hold | Run | Spare | Backlog
SLOW_DOWN = Answer(503, "SlowDown")
ACCESS_DENIED = Answer(403, "AccessDenied")


@dataclass
class Rule:
    """Applies `fault` to requests of `operation` (any if None), `times` times (always if None), after `skip` others.

    `then` comes after a fault that lets the request go on (Hold, Run).
    """

    operation: str | None = None
    fault: Fault = field(default_factory=Answer)
    times: int | None = None
    skip: int = 0
    key: str | None = None
    part: int | None = None
    bucket: str | None = None
    then: Fault | None = None
    applied: int = 0

    def take(self, request: Seen) -> bool:
        """Return whether this request gets the fault, counting it; called under the proxy's lock."""
        if self.operation not in {None, request.operation}:
            return False
        if self.bucket not in {None, request.bucket}:
            return False
        if self.key not in {None, request.key} or self.part not in {None, request.part}:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.applied >= self.times:
            return False
        self.applied += 1
        return True


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    operation: str
    bucket: str
    key: str
    part: int | None
    size: int
    headers: dict[str, str]  # names in lower case


# By method, whether a key is named, and those of the query's names that tell operations apart.
OPERATIONS = {
    ("PUT", True, ("partNumber", "uploadId")): "UploadPart",
    ("PUT", True, ()): "PutObject",
    ("POST", True, ("uploads",)): "CreateMultipartUpload",
    ("POST", True, ("uploadId",)): "CompleteMultipartUpload",
    ("POST", False, ("delete",)): "DeleteObjects",
    ("DELETE", True, ("uploadId",)): "AbortMultipartUpload",
    ("DELETE", True, ()): "DeleteObject",
    ("GET", False, ("uploads",)): "ListMultipartUploads",
    ("GET", False, ("list-type",)): "ListObjectsV2",
    ("GET", False, ("versions",)): "ListObjectVersions",
    ("GET", True, ()): "GetObject",
    ("HEAD", True, ()): "HeadObject",
    ("HEAD", False, ()): "HeadBucket",
    ("GET", False, ("ownershipControls",)): "GetBucketOwnershipControls",
    ("GET", False, ("versioning",)): "GetBucketVersioning",
    ("GET", False, ("lifecycle",)): "GetBucketLifecycleConfiguration",
    ("GET", False, ("object-lock",)): "GetObjectLockConfiguration",
}
COPIES = {"UploadPart": "UploadPartCopy", "PutObject": "CopyObject"}
TELLING = {name for _, _, names in OPERATIONS for name in names}


def operation_name(method: str, of_object: bool, query: dict[str, str], *, copies: bool) -> str:
    """Return the S3 operation of a request, `METHOD other` if it is none that this service sends."""
    operation = OPERATIONS.get((method, of_object, tuple(sorted(query.keys() & TELLING))), f"{method} other")
    return COPIES.get(operation, operation) if copies else operation
