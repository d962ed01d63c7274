"""The push writer: bytes in, one object in S3, visible only when it is complete and the fence was checked.

A small file is one PutObject. The digest and the row count of a file are known at its end, but an upload's metadata is
fixed at its beginning. So a file of several parts is first completed under a staging key that no consumer watches, then
copied by S3 itself, with its metadata, ACL and headers, to the final key: whoever watches that key sees one creation,
of the complete object.

Memory: the part being filled, and at most `threads` parts (of the first part's size) under way.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from vfexport_core.errors import DeliveryFailed, VfexportError
from vfexport_core.storage.object_keys import EXPORT_ID
from vfexport_core.storage.object_store import GRACE_SECONDS, SHA256
from vfexport_core.storage.s3.bucket import ONLY_NEW, Requests, aborted, acl_params
from vfexport_core.storage.s3.cleanup import discard, remove
from vfexport_core.storage.s3.failures import PRECONDITION_FAILED, error_code, is_upload_spent
from vfexport_core.storage.s3.multipart import MAX_PARTS, MIB, MIN_PART_BYTES, Multipart, size_of_part

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from typing_extensions import Buffer

    from vfexport_core.storage.object_store import NewObject
    from vfexport_core.storage.s3.bucket import Answer, S3Bucket

PART_BYTES = 8 * MIB

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How a writer uses S3.

    Up to `copy_single_bytes` (S3 allows 5 GiB) one request copies an object. Above, parts of `copy_part_bytes` are
    copied side by side: faster, and the step that makes the object visible is short then, so that the fence check
    directly before it says more.
    """

    part_bytes: int = PART_BYTES
    threads: int = 3
    copy_single_bytes: int = 256 * MIB
    copy_part_bytes: int = 128 * MIB

    def __post_init__(self) -> None:
        if self.part_bytes < MIN_PART_BYTES:
            raise ValueError(f"S3 refuses parts of less than {MIN_PART_BYTES} bytes, except the last")


@dataclass(frozen=True, slots=True)
class Staged:
    """A complete object that nobody looks at yet; `version_id` only in a bucket that keeps versions."""

    key: str
    size: int
    etag: str
    version_id: str | None

    @classmethod
    def of(cls, key: str, size: int, answer: Answer) -> Staged:
        """Take what S3 answered to the request that made the object."""
        version_id = answer.get("VersionId")
        # "null" is the version of an object in a bucket that keeps none (any more).
        return cls(key, size, answer["ETag"], None if version_id == "null" else version_id)

    def source(self, bucket: str) -> dict[str, Any]:
        """Return a copy's parameters: this very object, or the copy fails."""
        version = {"VersionId": self.version_id} if self.version_id else {}
        return {"CopySource": {"Bucket": bucket, "Key": self.key, **version}, "CopySourceIfMatch": self.etag}


class _State(Enum):
    OPEN = "open"
    STAGED = "staged"
    BROKEN = "broken by an earlier error"
    PUBLISHED = "published"
    DISCARDED = "discarded"


class S3Writer:
    """Writes one object; see the module and `ObjectWriter`.

    `cleaner` is the same bucket, for taking away what is given up: retried for less time, since the queue waits.
    """

    def __init__(self, bucket: S3Bucket, new: NewObject, limits: Limits, cleaner: S3Bucket) -> None:
        self.key = new.key
        self.bytes_written = 0
        self._bucket = bucket
        self._cleaner = cleaner
        self._staging_key = new.staging_key
        self._headers = {
            **acl_params(new.acl),
            "ContentType": new.content_type,
            "ContentDisposition": new.content_disposition,
        }
        self._metadata = dict(new.metadata)
        self._limits = limits
        self._part_bytes = limits.part_bytes
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._requests = Requests(bucket, limits.threads)
        self._parts = Multipart(self._requests, new.staging_key, budget=limits.threads * limits.part_bytes)
        self._copied = Multipart(self._requests, new.key, budget=0)
        self._staged: Staged | None = None
        self._touched: list[str] = []
        self._state = _State.OPEN
        self._lock = threading.Lock()
        self._cleaning = threading.Lock()

    @property
    def sha256(self) -> str:
        """The digest of everything written so far, in hex."""
        return self._digest.hexdigest()

    @property
    def is_drained(self) -> bool:
        """Whether no request is under way."""
        return self._requests.drain(0)

    def write(self, block: Buffer, /) -> int:
        """Take the next bytes (they are copied); waits while the parts under way fill the budget."""
        view = memoryview(block)
        size = view.nbytes
        with self._step(_State.OPEN):
            data = view.cast("B") if size else view
            self._digest.update(data)
            start = 0
            while start < size:
                if len(self._buffer) >= self._part_bytes:
                    self._ship()
                end = min(size, start + self._part_bytes - len(self._buffer))
                self._buffer += data[start:end]
                start = end
            self.bytes_written += size
        return size

    def stage(self) -> None:
        """Bring all bytes to S3, visible to nobody; afterwards the writer holds none of them."""
        with self._step(_State.OPEN, _State.STAGED):
            if self._staged is None:
                self._staged = self._stage()
                self._advance(_State.STAGED)

    def publish(self, metadata: Mapping[str, str], check_fence: Callable[[], object]) -> None:
        """Make the object visible under its key, with all metadata, unless there is another object.

        `check_fence` is called directly before the one request that does so, and again before each repetition of it;
        what it raises (LeaseLost) comes out of here. After any error `discard` takes everything away again.
        """
        headers = {**self._headers, "Metadata": {**self._metadata, **metadata, SHA256: self.sha256}}
        with self._step(_State.OPEN, _State.STAGED):
            self._touch(self.key)
            if self._staged is None and not self._parts.parts:
                params = {"Key": self.key, "Body": self._buffer, **headers, **ONLY_NEW}
                self._requests.call("put_object", params, before=check_fence, already_applied=self._published)
                self._buffer = bytearray()
            else:
                self._staged = self._staged or self._stage()
                self._show(self._staged, headers, check_fence)
            self._advance(_State.PUBLISHED)

    def discard(self, grace_seconds: float = GRACE_SECONDS) -> bool:
        """Leave nothing of an unpublished object in S3; does nothing once it is published. May be called again.

        Waits up to `grace_seconds` for requests under way, so that none of them has its effect after the cleaning.
        False when something may be left: another `discard`, or `discard_attempt`, finds it later.
        """
        with self._lock:
            if self._state is _State.PUBLISHED:
                return True
            self._state = _State.DISCARDED
        self._requests.stop()
        with self._cleaning:
            self._buffer = bytearray()
            # What hangs is not waited for.
            drained = self._requests.drain(0 if self._bucket.stall.is_over else grace_seconds)
            clean = self._clean()
            if drained and clean:
                self._touched = []
            return drained and clean

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _ship(self) -> None:
        """Send the filled part on its way."""
        if not self._parts.parts:
            self._touch(self._staging_key)
            self._parts.create({**self._headers, "Metadata": self._metadata})
        data, self._buffer = self._buffer, bytearray()
        self._parts.upload(data)
        self._part_bytes = size_of_part(self._parts.parts + 1, self._limits.part_bytes)

    def _stage(self) -> Staged:
        """Complete the object under the staging key."""
        key = self._staging_key

        def already_applied(_: Exception) -> Answer | None:
            return self._if_whole(self._bucket.head(key))

        if self._parts.parts:
            self._ship()
            answer = self._parts.complete(already_applied=already_applied)
        else:
            self._touch(key)
            params = {"Key": key, "Body": self._buffer, **self._headers, "Metadata": self._metadata}
            answer = self._requests.call("put_object", params, already_applied=already_applied)
            self._buffer = bytearray()
        return Staged.of(key, self.bytes_written, answer)

    def _show(self, staged: Staged, headers: Mapping[str, Any], check_fence: Callable[[], object]) -> None:
        """Copy the staged object to the final key, and take it away."""
        if staged.size <= self._limits.copy_single_bytes:
            source = staged.source(self._bucket.name)
            params = {"Key": self.key, **source, **headers, **ONLY_NEW, "MetadataDirective": "REPLACE"}
            self._requests.call("copy_object", params, before=check_fence, already_applied=self._published)
        else:
            self._copy_in_parts(staged, headers, check_fence)
        if staged.version_id is None:
            self._requests.call("delete_object", {"Key": self._staging_key})
        else:
            # A delete marker would leave the fans' data behind it.
            remove(self._bucket, [self._staging_key])

    def _copy_in_parts(self, staged: Staged, headers: Mapping[str, Any], check_fence: Callable[[], object]) -> None:
        """Copy by a multipart upload; one that met another writer of the key is made anew."""
        source, upload = staged.source(self._bucket.name), self._copied
        step = max(self._limits.copy_part_bytes, -(-staged.size // MAX_PARTS))
        for attempt in itertools.count(1):
            upload.create(headers)
            for first in range(0, staged.size, step):
                upload.copy(source, first, min(first + step, staged.size) - 1)
            try:
                upload.complete(condition=ONLY_NEW, before=check_fence, already_applied=self._published)
            except DeliveryFailed as error:
                if attempt >= self._bucket.retry.attempts or not is_upload_spent(error.__cause__):
                    raise
            else:
                return
            upload.abort(self._bucket)
            self._requests.pause(attempt)

    def _published(self, error: Exception) -> Answer | None:
        """Return the final object if it is there: only this attempt writes under this key, and the digest proves it."""
        # That there is an object is certain then, and whose it is decides.
        look = self._bucket.head_patiently if error_code(error) == PRECONDITION_FAILED else self._bucket.head
        answer = self._if_whole(look(self.key))
        return answer if answer and answer.get("Metadata", {}).get(SHA256) == self.sha256 else None

    def _if_whole(self, answer: Answer | None) -> Answer | None:
        return answer if answer and answer.get("ContentLength") == self.bytes_written else None

    def _touch(self, key: str) -> None:
        if key not in self._touched:
            self._touched.append(key)

    def _clean(self) -> bool:
        clean = True
        for step in (self._abort, self._discard):
            try:
                step()
            except VfexportError as error:
                clean = False
                _log.warning("something of %s may be left: %s", self.key, error.message)
        return clean

    def _abort(self) -> None:
        for upload in (self._parts, self._copied):
            upload.abort(self._cleaner)

    def _discard(self) -> None:
        discard(self._cleaner, self._touched, self._metadata.get(EXPORT_ID))

    @contextmanager
    def _step(self, *states: _State) -> Generator[None]:
        """Guard a step that is allowed in these states; one that fails, or is interrupted, breaks the writer."""
        if self._state is _State.DISCARDED:
            raise aborted(self._bucket.name, "write")
        if self._state not in states:
            raise ValueError(f"the writer is {self._state.value}")
        try:
            yield
        except BaseException:
            with self._lock:
                if self._state in states:
                    self._state = _State.BROKEN
            raise

    def _advance(self, state: _State) -> None:
        with self._lock:
            if self._state is _State.DISCARDED:
                raise aborted(self._bucket.name, "publish")
            self._state = state
        self._requests.rest()
