"""What is in a bucket, whoever put it there, and what an object says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.errors import DeliveryRefused
from vfexport_core.storage.object_keys import EXPORT_ID
from vfexport_core.storage.object_store import SHA256
from vfexport_core.storage.s3.failures import is_absent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from vfexport_core.storage.s3.bucket import S3Bucket


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing has it: the latest version under its key."""

    key: str
    bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class ObjectDescription:
    """What an object says of itself; `sha256` and `export_id` are None where another than this service wrote it."""

    bytes: int
    sha256: str | None
    export_id: str | None


def stored_objects(bucket: S3Bucket) -> Iterator[StoredObject]:
    """Yield every object of a bucket by its key; raises DeliveryFailed, DeliveryRefused."""
    more: dict[str, str] = {}
    while True:
        page = bucket.call("list_objects_v2", more)
        for item in page.get("Contents", []):
            yield StoredObject(item["Key"], item["Size"], item["LastModified"])
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def describe(bucket: S3Bucket, key: str) -> ObjectDescription | None:
    """Return what is under a key; None when nothing is. Raises DeliveryFailed, DeliveryRefused."""
    try:
        answer = bucket.call("head_object", {"Key": key})
    except DeliveryRefused as error:
        if is_absent(error.__cause__):
            return None
        raise
    metadata = answer.get("Metadata", {})
    return ObjectDescription(answer["ContentLength"], metadata.get(SHA256), metadata.get(EXPORT_ID))
