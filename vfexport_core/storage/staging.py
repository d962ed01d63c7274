"""From the staging object to the final one.

The digest and the row count of a file are known at its end, but an upload's metadata is fixed at its beginning. So a
file of several parts is first completed under a staging key that no consumer watches, then copied by S3 itself, with
its metadata, ACL and headers, to the final key: whoever watches that key sees one creation, of the complete object.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import DeliveryFailed
from vfexport_core.storage.failures import is_upload_spent
from vfexport_core.storage.multipart import MAX_PARTS, MIB, Multipart
from vfexport_core.storage.target import ONLY_NEW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vfexport_core.storage.requests import Requests
    from vfexport_core.storage.target import Answer


@dataclass(frozen=True, slots=True)
class Limits:
    """How a writer uses S3.

    Up to `copy_single_bytes` (S3 allows 5 GiB) one request copies an object. Above, parts of `copy_part_bytes` are
    copied side by side: faster, and the step that makes the object visible is short then, so that the fence check
    directly before it says more.
    """

    threads: int = 3
    copy_single_bytes: int = 256 * MIB
    copy_part_bytes: int = 128 * MIB


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


def copy(
    requests: Requests,
    staged: Staged,
    upload: Multipart,
    headers: Mapping[str, Any],
    limits: Limits,
    *,
    confirm: Callable[[], None],
    happened: Callable[[Exception], Answer | None],
) -> None:
    """Copy `staged` to the key of `upload`; `confirm` is called directly before the object becomes visible.

    Raises DeliveryRefused when there is another object under the key. An upload that met another writer is made anew.
    """
    source = staged.source(requests.target.name)
    if staged.size <= limits.copy_single_bytes:
        params = {"Key": upload.key, **source, **headers, **ONLY_NEW, "MetadataDirective": "REPLACE"}
        requests.call("copy_object", params, before=confirm, happened=happened)
        return
    step = max(limits.copy_part_bytes, -(-staged.size // MAX_PARTS))
    for attempt in itertools.count(1):
        upload.create(headers)
        for first in range(0, staged.size, step):
            upload.copy(source, first, min(first + step, staged.size) - 1)
        try:
            upload.complete(condition=ONLY_NEW, before=confirm, happened=happened)
        except DeliveryFailed as error:
            if attempt >= requests.target.retry.attempts or not is_upload_spent(error.__cause__):
                raise
        else:
            return
        upload.abort()
        requests.pause(attempt)
