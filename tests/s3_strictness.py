"""What AWS' S3 refuses although the embedded one takes it; `tests/s3_proxy.py` asks before it passes a request on.

- Buckets are as new ones are made (BucketOwnerEnforced): no ACL but ``bucket-owner-full-control`` is taken.
- The checksums of a multipart upload are those that were agreed on when it was created.
- A multi-object delete has a digest; a store that is not AWS wants the old one, Content-MD5.
- ``If-None-Match: *`` is refused where there is an object already.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.s3_faults import Answer, Seen
from tests.s3_wire import is_aws

if TYPE_CHECKING:
    from collections.abc import Callable

_CHECKSUM = "x-amz-checksum-"
_ALGORITHMS = frozenset({"crc32", "crc32c", "crc64nvme", "sha1", "sha256"})
_CONDITIONAL = frozenset({"PutObject", "CopyObject", "CompleteMultipartUpload"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is about to be passed on, and ways to look at what there is."""

    seen: Seen
    body: bytes
    upload_id: str | None
    exists: Callable[[], bool]
    """Tells whether there is an object under the request's key."""
    source: Callable[[], bytes]
    """Reads what a copy copies."""

    @property
    def checksums(self) -> dict[str, str]:
        """The checksums that come with the body, by algorithm."""
        headers = self.seen.headers
        return {name: headers[_CHECKSUM + name] for name in _ALGORITHMS if _CHECKSUM + name in headers}


@dataclass(slots=True)
class _Upload:
    algorithm: str | None
    parts: dict[int, str] = field(default_factory=dict[int, str])


def content_md5(body: bytes) -> str:
    """Return the value of the header Content-MD5."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


class Strictness:
    """Remembers what uploads were begun with."""

    def __init__(self) -> None:
        self._uploads: dict[str, _Upload] = {}
        self._lock = threading.Lock()

    def refusal(self, request: Request) -> Answer | None:
        """Return what AWS would answer to a request that it refuses."""
        rules = (_refuse_acl, _refuse_damaged, _refuse_delete, _refuse_overwriting, self._refuse_checksums)
        return next((answer for rule in rules if (answer := rule(request)) is not None), None)

    def learn(self, request: Request, answer: bytes) -> bytes:
        """Remember what came of a request that S3 took; gives the answer with what the embedded S3 leaves out."""
        if request.seen.operation == "CreateMultipartUpload":
            algorithm = request.seen.headers.get("x-amz-checksum-algorithm")
            (upload_id,) = re.findall(rb"<UploadId>(.*?)</UploadId>", answer)
            with self._lock:
                self._uploads[upload_id.decode()] = _Upload(algorithm.lower() if algorithm else None)
        upload = self._upload(request)
        if upload is None or upload.algorithm is None or request.seen.part is None:
            return answer
        if request.seen.operation == "UploadPartCopy":
            upload.parts[request.seen.part] = _crc32(request.source())
            told = f"<ChecksumCRC32>{upload.parts[request.seen.part]}</ChecksumCRC32></CopyPartResult>"
            return answer.replace(b"</CopyPartResult>", told.encode())
        upload.parts[request.seen.part] = request.checksums[upload.algorithm]
        return answer

    def _upload(self, request: Request) -> _Upload | None:
        with self._lock:
            return self._uploads.get(request.upload_id or "")

    def _refuse_checksums(self, request: Request) -> Answer | None:
        upload = self._upload(request)
        if upload is None:
            return None
        if request.seen.operation == "UploadPart" and upload.algorithm is not None:
            return None if request.checksums.keys() == {upload.algorithm} else Answer(400, "InvalidRequest")
        if request.seen.operation == "CompleteMultipartUpload":
            return _refuse_parts(upload, request.body.decode())
        return None


def _refuse_parts(upload: _Upload, listed: str) -> Answer | None:
    for part in re.findall(r"<Part>.*?</Part>", listed, re.DOTALL):
        (number,) = re.findall(r"<PartNumber>(\d+)</PartNumber>", part)
        told = {name.lower(): value for name, value in re.findall(r"<Checksum(\w+)>(.*?)</", part)}
        if upload.algorithm is not None and not told:
            return Answer(400, "InvalidRequest")
        if told != ({} if upload.algorithm is None else {upload.algorithm: upload.parts.get(int(number))}):
            return Answer(400, "InvalidPart")
    return None


def _refuse_acl(request: Request) -> Answer | None:
    headers = request.seen.headers
    grants = any(name.startswith("x-amz-grant-") for name in headers)
    if grants or headers.get("x-amz-acl", "bucket-owner-full-control") != "bucket-owner-full-control":
        return Answer(400, "AccessControlListNotSupported")
    return None


def _refuse_damaged(request: Request) -> Answer | None:
    md5 = request.seen.headers.get("content-md5")
    right = md5 in {None, content_md5(request.body)} and request.checksums.get("crc32") in {None, _crc32(request.body)}
    return None if right else Answer(400, "BadDigest")


def _refuse_delete(request: Request) -> Answer | None:
    headers = request.seen.headers
    if request.seen.operation != "DeleteObjects" or "content-md5" in headers:
        return None
    if not is_aws(headers["host"]):
        return Answer(400, "MissingContentMD5")
    return None if request.checksums else Answer(400, "InvalidRequest")


def _refuse_overwriting(request: Request) -> Answer | None:
    wanted = request.seen.operation in _CONDITIONAL and request.seen.headers.get("if-none-match") == "*"
    return Answer(412, "PreconditionFailed") if wanted and request.exists() else None


def _crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
