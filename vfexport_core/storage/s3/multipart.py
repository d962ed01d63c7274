"""One multipart upload: parts in flight on a few threads, bounded in bytes, none of them ever left out."""

from __future__ import annotations

import logging
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import VfexportError
from vfexport_core.storage.s3.cleanup import abort_upload, abort_uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from vfexport_core.storage.s3.bucket import Answer, Requests, S3Bucket

MIB = 1024 * 1024
GIB = 1024 * MIB
MIN_PART_BYTES = 5 * MIB
MAX_PART_BYTES = 5 * GIB
MAX_PARTS = 10_000

NO_CONDITION: Mapping[str, str] = MappingProxyType({})

# Doubling this often reaches S3's largest object (5 TiB) within 10,000 parts, even from the smallest part.
_PARTS_OF_ONE_SIZE = 900

_log = logging.getLogger(__name__)


def size_of_part(number: int, first: int) -> int:
    """Return the size of part `number` (from 1) when the first has `first` bytes; it doubles every 900 parts."""
    return min(first << ((number - 1) // _PARTS_OF_ONE_SIZE), MAX_PART_BYTES)


class Multipart:
    """A multipart upload to `key`; at most `budget` bytes of parts wait or are under way (one part always may)."""

    def __init__(self, requests: Requests, key: str, *, budget: int) -> None:
        self._requests = requests
        self.key = key
        self._budget = budget
        self._upload_id: str | None = None
        self._creates = 0
        self._parts: list[Future[Answer]] = []
        # Taken by itself, not through the condition: no interrupt can then fall between taking and holding it.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending_parts = 0
        self._pending_bytes = 0
        self._failure: BaseException | None = None

    @property
    def parts(self) -> int:
        return len(self._parts)

    def create(self, headers: Mapping[str, Any]) -> None:
        """Begin the upload, or a new one after `abort`.

        `headers` are the ACL, the metadata and what else belongs to the object. The checksums that come with the parts
        are agreed on here: S3 takes no others.
        """
        params = {"Key": self.key, **headers, **self._requests.bucket.checksum_params}
        answer = self._requests.call("create_multipart_upload", params, before=self._count_create)
        self._upload_id = answer["UploadId"]
        self._parts = []

    def upload(self, data: bytearray) -> None:
        """Send the next part; waits while the budget is used up. `data` may not be touched any more.

        Raises DeliveryFailed or DeliveryRefused as soon as any part has failed for good.
        """
        self._add("upload_part", {"Body": data, **self._requests.bucket.checksum_params}, len(data))

    def copy(self, source: Mapping[str, Any], first: int, last: int) -> None:
        """Copy bytes `first` to `last` (inclusive) of another object as the next part."""
        self._add("upload_part_copy", {**source, "CopySourceRange": f"bytes={first}-{last}"}, 0)

    def wait(self) -> None:
        """Wait until every part is on S3; raises the first failure."""
        with self._lock:
            self._changed.wait_for(lambda: self._failure is not None or self._pending_parts == 0)
            self._raise_failure()

    def complete(
        self,
        *,
        condition: Mapping[str, str] = NO_CONDITION,
        before: Callable[[], object] | None = None,
        already_applied: Callable[[Exception], Answer | None],
    ) -> Answer:
        """Make the object of all parts, under a `condition`; see `S3Bucket.call` for `before` and `already_applied`."""
        self.wait()
        agreed = [f"Checksum{algorithm}" for algorithm in self._requests.bucket.checksum_params.values()]
        parts = [_completed(number, part.result(), agreed) for number, part in enumerate(self._parts, start=1)]
        params = {"Key": self.key, "UploadId": self._upload_id, "MultipartUpload": {"Parts": parts}, **condition}
        answer = self._requests.call(
            "complete_multipart_upload", params, before=before, already_applied=already_applied
        )
        self._upload_id = None
        if self._creates > 1:
            self._forget_lost_creates()
        return answer

    def abort(self, bucket: S3Bucket) -> None:
        """Abort the upload, once nothing of it is under way; an upload that S3 does not know any more is fine."""
        if self._upload_id is None:
            return
        abort_upload(bucket, self.key, self._upload_id)
        self._upload_id = None

    def _add(self, operation: str, params: Mapping[str, Any], weight: int) -> None:
        with self._lock:
            self._changed.wait_for(lambda: self._failure is not None or self._has_room(weight))
            self._raise_failure()
            self._pending_parts += 1
            self._pending_bytes += weight
        number = len(self._parts) + 1
        common = {"Key": self.key, "UploadId": self._upload_id, "PartNumber": number}
        part = self._requests.start(operation, {**common, **params})
        self._parts.append(part)
        part.add_done_callback(lambda done: self._ended(done, weight))

    def _has_room(self, weight: int) -> bool:
        return self._pending_bytes == 0 or self._pending_bytes + weight <= self._budget

    def _ended(self, part: Future[Answer], weight: int) -> None:
        with self._lock:
            self._pending_parts -= 1
            self._pending_bytes -= weight
            self._failure = self._failure or part.exception()
            self._changed.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _count_create(self) -> None:
        self._creates += 1

    def _forget_lost_creates(self) -> None:
        """Abort what an earlier `create` began although its answer was lost; the file itself is complete."""
        try:
            abort_uploads(self._requests.bucket, [self.key])
        except VfexportError as error:
            _log.warning("an upload without parts may be left: %s", error.message)


def _completed(number: int, answer: Answer, agreed: Sequence[str]) -> dict[str, Any]:
    """Return what completing needs to know of a part: its ETag, and those checksums of it that were agreed on."""
    part = answer.get("CopyPartResult", answer)
    return {"PartNumber": number, "ETag": part["ETag"], **{name: part[name] for name in agreed if name in part}}
