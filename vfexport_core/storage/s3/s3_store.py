"""A bucket of S3, or of a store that speaks its protocol, as an `ObjectStore`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfexport_core.storage.object_keys import content_disposition
from vfexport_core.storage.object_store import PIECE_BYTES
from vfexport_core.storage.s3 import cleanup
from vfexport_core.storage.s3.failures import S3_ERRORS, delivery_error
from vfexport_core.storage.s3.writer import Limits, S3Writer

if TYPE_CHECKING:
    import builtins
    import threading
    from collections.abc import Iterable, Iterator, Sequence

    from vfexport_core.errors import DeliveryFailed, DeliveryRefused
    from vfexport_core.storage.object_store import NewObject, ObjectVersion
    from vfexport_core.storage.s3.bucket import S3Bucket


@dataclass(frozen=True, slots=True)
class S3Store:
    """See the module. `cleaner` is the same bucket, for taking things away, retried for less time."""

    bucket: S3Bucket
    cleaner: S3Bucket
    limits: Limits = field(default_factory=Limits)

    @property
    def name(self) -> str:
        """The bucket's name in S3."""
        return self.bucket.name

    def begin(self, new: NewObject) -> S3Writer:
        return S3Writer(self.bucket, new, self.limits, self.cleaner)

    def sign(self, key: str, seconds: int, download_name: str | None = None) -> str:
        params = {"Bucket": self.name, "Key": key}
        if download_name is not None:
            params["ResponseContentDisposition"] = content_disposition(download_name)
        try:
            return self.bucket.client.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds)
        except S3_ERRORS as error:  # no credentials, or a role that may not be assumed
            raise delivery_error(self.name, "get_object", error, 1) from error

    def read(self, key: str) -> Iterator[bytes]:
        body = self.bucket.call("get_object", {"Key": key})["Body"]
        with closing(body):
            try:
                yield from body.iter_chunks(PIECE_BYTES)
            except S3_ERRORS as error:
                raise delivery_error(self.name, "get_object", error, 1) from error

    def list(self, keys: Iterable[str], stop: threading.Event | None = None) -> dict[str, builtins.list[ObjectVersion]]:
        return cleanup.find_versions(self.cleaner, keys, stop)

    def delete(
        self, versions: Sequence[ObjectVersion], stop: threading.Event | None = None
    ) -> dict[str, DeliveryFailed | DeliveryRefused]:
        return cleanup.delete_versions(self.cleaner, versions, stop)

    def remove(self, keys: Sequence[str], owner: str | None = None) -> None:
        cleanup.remove(self.cleaner, keys, owner)

    def abort_uploads(self, keys: Sequence[str], stop: threading.Event | None = None) -> None:
        cleanup.abort_uploads(self.cleaner, keys, stop)

    def discard_attempt(
        self, export_id: str, attempt: int, keys: Sequence[str], stop: threading.Event | None = None
    ) -> None:
        cleanup.discard_attempt(self.cleaner, export_id, attempt, keys, stop)
