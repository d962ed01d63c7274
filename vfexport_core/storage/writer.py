"""The push writer: bytes in, one object in S3, visible only when it is complete and confirmed.

::

    with ObjectWriter(target, key, staging_key=..., acl=..., ...) as writer:
        writer.write(block)                       # as often as needed
        writer.publish({"rows": "12"}, confirm)   # leaving the block without this leaves nothing in S3

Several files that are to appear together: write and `prepare` each, then `publish` each; when one fails, `abort` the
rest and `remove` those published.

Memory: the part being filled, and at most `threads` parts (of the first part's size) under way. After an error or an
interrupt a writer can only be aborted: what was being sent may be incomplete.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from vfexport_core.errors import VfexportError
from vfexport_core.storage import staging
from vfexport_core.storage.cleanup import discard, remove
from vfexport_core.storage.failures import PRECONDITION_FAILED, error_code
from vfexport_core.storage.keys import EXPORT_ID
from vfexport_core.storage.multipart import MIB, MIN_PART_BYTES, Multipart, size_of_part
from vfexport_core.storage.requests import Requests
from vfexport_core.storage.staging import Limits, Staged
from vfexport_core.storage.target import ONLY_NEW, aborted, acl_params

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from typing_extensions import Buffer

    from vfexport_core.storage.target import Answer, BucketTarget

SHA256 = "sha256"
PART_BYTES = 8 * MIB
SETTLE_SECONDS = 30.0

_log = logging.getLogger(__name__)


class _State(Enum):
    OPEN = "open"
    PREPARED = "prepared"
    BROKEN = "broken by an earlier error"
    PUBLISHED = "published"
    ABORTED = "aborted"


class ObjectWriter:
    """Writes one object; see the module. Its methods raise DeliveryFailed or DeliveryRefused, and `confirm`'s errors.

    `metadata` is known from the beginning (export id, type); the file's SHA-256 is added by itself. Not for use by
    several threads, but `abort` may be called from any.
    """

    def __init__(
        self,
        target: BucketTarget,
        key: str,
        *,
        staging_key: str,
        acl: str,
        content_type: str,
        content_disposition: str,
        metadata: Mapping[str, str],
        part_bytes: int = PART_BYTES,
        limits: Limits | None = None,
    ) -> None:
        if part_bytes < MIN_PART_BYTES:
            raise ValueError(f"S3 refuses parts of less than {MIN_PART_BYTES} bytes, except the last")
        self.target = target
        self.key = key
        self.bytes_written = 0
        self._staging_key = staging_key
        self._headers = {**acl_params(acl), "ContentType": content_type, "ContentDisposition": content_disposition}
        self._metadata = dict(metadata)
        self._first_part_bytes = part_bytes
        self._part_bytes = part_bytes
        self._limits = limits or Limits()
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._requests = Requests(target, self._limits.threads)
        self._parts = Multipart(self._requests, staging_key, budget=self._limits.threads * part_bytes)
        self._copy = Multipart(self._requests, key, budget=0)
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
    def is_settled(self) -> bool:
        """Whether no request is under way."""
        return self._requests.settle(0)

    def write(self, block: Buffer) -> int:
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

    def prepare(self) -> None:
        """Bring all bytes to S3, visible to nobody; afterwards the writer holds none of them."""
        with self._step(_State.OPEN, _State.PREPARED):
            if self._staged is None:
                self._staged = self._stage()
                self._advance(_State.PREPARED)

    def publish(self, metadata_extra: Mapping[str, str], confirm: Callable[[], None]) -> None:
        """Make the object visible under its key, with all metadata, unless there is another object.

        `confirm` is called directly before the one request that does so, and again before each repetition of it;
        what it raises (LeaseLost) comes out of here. After any error `abort` takes everything away again.
        """
        headers = {**self._headers, "Metadata": {**self._metadata, **metadata_extra, SHA256: self.sha256}}
        with self._step(_State.OPEN, _State.PREPARED):
            self._touch(self.key)
            if self._staged is None and not self._parts.parts:
                params = {"Key": self.key, "Body": self._buffer, **headers, **ONLY_NEW}
                self._requests.call("put_object", params, before=confirm, happened=self._published)
                self._buffer = bytearray()
            else:
                self._staged = self._staged or self._stage()
                self._show(self._staged, headers, confirm)
            self._advance(_State.PUBLISHED)

    def abort(self, settle_seconds: float = SETTLE_SECONDS) -> bool:
        """Leave nothing of an unpublished object in S3; does nothing once it is published. May be called again.

        Waits up to `settle_seconds` for requests under way, so that none of them has its effect after the cleaning.
        False when something may be left: another `abort`, or `discard_attempt`, finds it later.
        """
        with self._lock:
            if self._state is _State.PUBLISHED:
                return True
            self._state = _State.ABORTED
        self._requests.stop()
        with self._cleaning:
            self._buffer = bytearray()
            settled = self._requests.settle(settle_seconds)
            clean = self._clean()
            if settled and clean:
                self._touched = []
            return settled and clean

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _ship(self) -> None:
        """Send the filled part on its way."""
        if not self._parts.parts:
            self._touch(self._staging_key)
            self._parts.create({**self._headers, "Metadata": self._metadata})
        data, self._buffer = self._buffer, bytearray()
        self._parts.upload(data)
        self._part_bytes = size_of_part(self._parts.parts + 1, self._first_part_bytes)

    def _stage(self) -> Staged:
        """Complete the object under the staging key."""
        key, happened = self._staging_key, lambda _: self._if_whole(self.target.head(self._staging_key))
        if self._parts.parts:
            self._ship()
            answer = self._parts.complete(happened=happened)
        else:
            self._touch(key)
            params = {"Key": key, "Body": self._buffer, **self._headers, "Metadata": self._metadata}
            answer = self._requests.call("put_object", params, happened=happened)
            self._buffer = bytearray()
        return Staged.of(key, self.bytes_written, answer)

    def _show(self, staged: Staged, headers: Mapping[str, Any], confirm: Callable[[], None]) -> None:
        """Copy the staged object to the final key, and take it away."""
        staging.copy(
            self._requests, staged, self._copy, headers, self._limits, confirm=confirm, happened=self._published
        )
        if staged.version_id is None:
            self._requests.call("delete_object", {"Key": self._staging_key})
        else:
            # A delete marker would leave the fans' data behind it.
            remove(self.target, [self._staging_key])

    def _published(self, error: Exception) -> Answer | None:
        """Return the final object if it is there: only this attempt writes under this key, and the digest proves it."""
        # That there is an object is certain then, and whose it is decides.
        look = self.target.head_patiently if error_code(error) == PRECONDITION_FAILED else self.target.head
        answer = self._if_whole(look(self.key))
        return answer if answer and answer.get("Metadata", {}).get(SHA256) == self.sha256 else None

    def _if_whole(self, answer: Answer | None) -> Answer | None:
        return answer if answer and answer.get("ContentLength") == self.bytes_written else None

    def _touch(self, key: str) -> None:
        if key not in self._touched:
            self._touched.append(key)

    def _clean(self) -> bool:
        clean = True
        for step in (self._parts.abort, self._copy.abort, self._discard):
            try:
                step()
            except VfexportError as error:
                clean = False
                _log.warning("something of %s may be left: %s", self.key, error.message)
        return clean

    def _discard(self) -> None:
        discard(self.target, self._touched, self._metadata.get(EXPORT_ID))

    @contextmanager
    def _step(self, *states: _State) -> Generator[None]:
        """Guard a step that is allowed in these states; one that fails, or is interrupted, breaks the writer."""
        if self._state is _State.ABORTED:
            raise aborted(self.target.name, "write")
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
            if self._state is _State.ABORTED:
                raise aborted(self.target.name, "publish")
            self._state = state
        self._requests.rest()
