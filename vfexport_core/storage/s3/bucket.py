"""One bucket, and the one way in which every request to it is sent, tried again and given up.

`S3Bucket` sends in the caller's thread. What changes something for a writer is sent by `Requests`, on threads of its
own, also when the caller waits for it: an interrupt (Dagster's is an exception raised in the main thread, anywhere)
then ends the waiting, never a request half-way, and cleaning up can wait until nothing is under way any more.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
import random
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import IncompleteReadError

from vfexport_core.errors import BucketHangs, DeliveryFailed, VfexportError
from vfexport_core.storage.s3.failures import (
    S3_ERRORS,
    api_name,
    cause,
    delivery_error,
    is_passing,
    is_repeatable,
    is_unknown,
    may_be_applied,
)
from vfexport_core.storage.s3.stall import StallClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Answer = dict[str, Any]
_Work = queue.SimpleQueue["tuple[Future[Answer], Callable[[], Answer]] | None"]

# What S3's answer cannot lack. An answer cut to nothing is no error to botocore; a listing would seem to be empty.
_ESSENTIAL = {
    "complete_multipart_upload": "ETag",
    "copy_object": "CopyObjectResult",
    "create_multipart_upload": "UploadId",
    "list_multipart_uploads": "IsTruncated",
    "list_object_versions": "IsTruncated",
    "put_object": "ETag",
    "upload_part": "ETag",
    "upload_part_copy": "CopyPartResult",
}

# The requests that say how an object is encrypted: those that begin one.
_ENCRYPTING = frozenset({"put_object", "create_multipart_upload", "copy_object"})

# The condition of a write that must not replace anything.
_CONDITION = "IfNoneMatch"
ONLY_NEW = {_CONDITION: "*"}

# The one that every version of the client can compute.
_CHECKSUM_ALGORITHM = "CRC32"

_log = logging.getLogger(__name__)


def acl_params(acl: str) -> dict[str, str]:
    """Return the parameter by which an object gets this ACL.

    There is none for ``private``: S3 gives it by itself, and buckets that enforce their owner refuse to be asked.
    """
    return {} if acl == "private" else {"ACL": acl}


def encryption_params(key_id: str | None, bucket_key: bool | None) -> dict[str, Any]:
    """Return the parameters by which an object is encrypted with this KMS key; none without one."""
    if key_id is None:
        return {}
    of_bucket = {} if bucket_key is None else {"BucketKeyEnabled": bucket_key}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_id, **of_bucket}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is sent at most, and how long to wait in between: doubling up to `cap_seconds`, jittered."""

    attempts: int = 6
    base_seconds: float = 0.2
    cap_seconds: float = 10.0

    def wait_seconds(self, attempt: int) -> float:
        """Return the wait after failed attempt `attempt` (the first is 1)."""
        longest = min(self.cap_seconds, self.base_seconds * 2 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 jitter, not a secret


@dataclass(slots=True)
class Abilities:
    """What a store can do, as far as is known; better is thought of it than it may turn out to be."""

    conditional_writes: bool = True


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """A bucket's name, an S3 client that reaches it and does not retry by itself, and how to retry instead.

    `stall` says when to give it up, whatever it is asked for: then no request is sent or tried again any more.
    `encryption` are the parameters by which each new object is encrypted; none: as the bucket does by itself.
    """

    name: str
    client: Any
    retry: RetryPolicy = RetryPolicy()
    abilities: Abilities = field(default_factory=Abilities)
    stall: StallClock = field(default_factory=lambda: StallClock(math.inf))
    encryption: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def checksum_params(self) -> dict[str, str]:
        """The parameter by which an upload and its parts agree on a checksum; none where the client sends none."""
        sends = self.client.meta.config.request_checksum_calculation == "when_supported"
        return {"ChecksumAlgorithm": _CHECKSUM_ALGORITHM} if sends else {}

    def send(self, operation: str, params: Mapping[str, Any]) -> Answer:
        """Send one request, once; raises what the client raises, also when the answer lacks what it must say.

        The condition of a write is left out where the store is known not to take it.
        """
        if not self.abilities.conditional_writes:
            params = {name: value for name, value in params.items() if name != _CONDITION}
        if operation in _ENCRYPTING:
            params = {**params, **self.encryption}
        answer: Answer = getattr(self.client, operation)(Bucket=self.name, **params)
        essential = _ESSENTIAL.get(operation)
        if essential is not None and answer.get(essential) in (None, "", {}):
            raise IncompleteReadError(actual_bytes=0, expected_bytes=1)
        return answer

    def call(
        self,
        operation: str,
        params: Mapping[str, Any],
        *,
        stop: threading.Event | None = None,
        before: Callable[[], object] | None = None,
        already_applied: Callable[[Exception], Answer | None] | None = None,
        send: Callable[[], Answer] | None = None,
    ) -> Answer:
        """Send a request until it succeeds, fails for good or the attempts are used up.

        `before` is called directly before each attempt and may raise. `already_applied` is asked after a failure that
        may hide a success, and gives the answer if so. No attempt begins once `stop` is set. `send` replaces the
        plain sending. A store that may not know the condition of a write is not asked for it any more, and `before` is
        called again.

        Raises BucketHangs, DeliveryFailed or DeliveryRefused, naming bucket, operation and cause.
        """
        stop = stop or threading.Event()
        for attempt in itertools.count(1):
            self._check_stall(operation, None)
            if before is not None:
                before()
            if stop.is_set():
                raise aborted(self.name, operation)
            conditional = _CONDITION in params and self.abilities.conditional_writes
            try:
                with self.stall.asking():
                    answer = send() if send else self.send(operation, params)
            except S3_ERRORS as error:
                if conditional and is_unknown(error):
                    _log.info("bucket %s: %s without a condition: %s", self.name, api_name(operation), cause(error))
                    self.abilities.conditional_writes = False
                    continue
                self._check_stall(operation, error)
                if already_applied is not None and may_be_applied(error):
                    answer = already_applied(error)
                    if answer is not None:
                        return answer
                if attempt >= self.retry.attempts or not is_repeatable(error):
                    raise delivery_error(self.name, operation, error, attempt) from error
                _log.warning("bucket %s: %s, attempt %d: %s", self.name, api_name(operation), attempt, cause(error))
            else:
                self.stall.succeeded()
                return answer
            with self.stall.asking():
                stop.wait(self.retry.wait_seconds(attempt))
        raise AssertionError  # the count never ends

    def _check_stall(self, operation: str, error: Exception | None) -> None:
        """Raise BucketHangs when the bucket is to be given up; what will not pass is told as it is."""
        if not self.stall.is_over or (error is not None and not is_passing(error)):
            return
        why = "" if error is None else f": {cause(error)}"
        message = (
            f"S3 bucket {self.name}: nothing has succeeded for {self.stall.seconds:g} s, {api_name(operation)} neither"
        )
        raise BucketHangs(message + why, payload=self.name) from error

    def head(self, key: str) -> Answer | None:
        """Look at an object, once; None when it is not there or cannot be asked for."""
        try:
            return self.send("head_object", {"Key": key})
        except S3_ERRORS:
            return None

    def head_patiently(self, key: str) -> Answer | None:
        """Look at an object as often as need be; None when it is not there or cannot be asked for."""
        try:
            return self.call("head_object", {"Key": key})
        except VfexportError:
            return None


def _serve(work: _Work) -> None:
    """Do what is to be done, until there is None."""
    while (item := work.get()) is not None:
        future, send = item
        try:
            future.set_result(send())
        except BaseException as error:  # noqa: BLE001 whoever waits for it is told
            future.set_exception(error)
        del item, future, send  # a part's bytes are not kept while the next one is waited for


def aborted(bucket: str, operation: str) -> DeliveryFailed:
    """Return the error of a request that is not sent any more because the upload was aborted."""
    return DeliveryFailed(f"S3 bucket {bucket}: {api_name(operation)} not sent: it was aborted", payload=bucket)


class Requests:
    """Sends requests to `bucket` on at most `threads` threads, until `stop`."""

    def __init__(self, bucket: S3Bucket, threads: int) -> None:
        self.bucket = bucket
        self._threads = threads
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._under_way = 0
        # Not an executor of the library: a process would wait for its threads, however long a request hangs.
        self._work: _Work = queue.SimpleQueue()
        self._running = 0

    def call(
        self,
        operation: str,
        params: Mapping[str, Any],
        *,
        before: Callable[[], object] | None = None,
        already_applied: Callable[[Exception], Answer | None] | None = None,
    ) -> Answer:
        """Send a request with retries (see `S3Bucket.call`) and wait for its answer.

        The caller's thread runs `before` and the waits between attempts, so that both can be interrupted.
        """

        def send() -> Answer:
            return self._submit(operation, lambda: self.bucket.send(operation, params)).result()

        return self.bucket.call(
            operation, params, stop=self._stop, before=before, already_applied=already_applied, send=send
        )

    def start(self, operation: str, params: Mapping[str, Any]) -> Future[Answer]:
        """Send a request with retries, without waiting for it."""
        return self._submit(operation, lambda: self.bucket.call(operation, params, stop=self._stop))

    def pause(self, attempt: int) -> None:
        """Wait as long as after a failed attempt, or until `stop`."""
        self._stop.wait(self.bucket.retry.wait_seconds(attempt))

    def stop(self) -> None:
        """Begin no request any more; those under way go on, those that wait for a retry end."""
        self._stop.set()
        self.rest()

    def rest(self) -> None:
        """Let idle threads end; the next request starts new ones."""
        with self._lock:
            for _ in range(self._running):
                self._work.put(None)
            self._work, self._running = queue.SimpleQueue(), 0

    def drain(self, seconds: float) -> bool:
        """Wait until no request is under way; False when some still are after `seconds`."""
        with self._lock:
            return self._idle.wait_for(lambda: self._under_way == 0, seconds)

    def _submit(self, operation: str, work: Callable[[], Answer]) -> Future[Answer]:
        with self._lock:
            self._check(operation)
            future: Future[Answer] = Future()
            self._work.put((future, lambda: self._count(operation, work)))
            if self._running < self._threads:
                self._running += 1
                threading.Thread(target=_serve, args=[self._work], name="s3", daemon=True).start()
            return future

    def _count(self, operation: str, work: Callable[[], Answer]) -> Answer:
        """Do the work, counted while it lasts.

        The working thread itself counts: a caller may be interrupted before it even learns that the work has begun.
        """
        with self._lock:
            self._check(operation)
            self._under_way += 1
        try:
            return work()
        finally:
            with self._lock:
                self._under_way -= 1
                self._idle.notify_all()

    def _check(self, operation: str) -> None:
        if self._stop.is_set():
            raise aborted(self.bucket.name, operation)
