"""Taking away what must not stay: uploads that were never completed, and objects with all their versions.

Safe to repeat, and safe beside other exports: only exact keys (or one attempt's staging prefix) are touched, and no two
attempts share a key. Every function raises DeliveryFailed or DeliveryRefused when something may be left.
"""

from __future__ import annotations

import itertools
import logging
import time
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import DeliveryFailed, DeliveryRefused
from vfexport_core.storage.failures import NO_SUCH_UPLOAD, error_code, is_passing_code
from vfexport_core.storage.keys import EXPORT_ID, staging_prefix

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from vfexport_core.storage.target import Answer, BucketTarget

# What S3 takes in one DeleteObjects.
_DELETE_AT_ONCE = 1000
# An answer to HEAD has no body, so its code is the status: not there, or a delete marker.
_NO_OBJECT = frozenset({"404", "405", "NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})

_log = logging.getLogger(__name__)


def discard(target: BucketTarget, keys: Sequence[str], owner: str | None = None) -> None:
    """Leave nothing of these keys: neither uploads nor objects nor versions of them; see `remove` for `owner`."""
    refusals: list[DeliveryRefused] = []
    for step in (lambda: abort_uploads(target, keys), lambda: remove(target, keys, owner)):
        try:
            step()
        except DeliveryRefused as error:  # a permission that is missing for the one must not keep the other back
            refusals.append(error)
    if refusals:
        raise refusals[0]


def discard_attempt(target: BucketTarget, export_id: str, attempt: int, keys: Sequence[str]) -> None:
    """Leave nothing of a lost attempt: its `keys` (as noted before it published) and all that it had staged."""
    discard(target, keys, export_id)
    prefix = staging_prefix(export_id, attempt)
    for key, upload_id in _uploads(target, prefix):
        abort_upload(target, key, upload_id)
    _delete(target, list(versions(target, prefix)))


def remove(target: BucketTarget, keys: Sequence[str], owner: str | None = None) -> None:
    """Delete the objects under exactly these keys, in a versioned bucket every version and delete marker.

    Where versions cannot be listed (no permission, or a store that has none) the plain objects are deleted. With
    `owner`, an export's id, a key that does not name it may be another's too: only the export's own objects go then.
    """
    found: list[dict[str, str]] = []
    for key in keys:
        try:
            under = [version for version in versions(target, key) if version["Key"] == key]
        except DeliveryRefused as error:
            _log.info("deleting without versions: %s", error.message)
            under = [{"Key": key}]
        found += under if owner is None or owner in key else _owned(target, under, owner)
    _delete(target, found)


def _owned(target: BucketTarget, under: Sequence[dict[str, str]], owner: str) -> list[dict[str, str]]:
    """Return all that is under a key if it is the owner's alone, else just his versions of it.

    A delete marker tells no owner; taken away, it would bring another's deleted object back.
    """
    # The only object of a bucket without versions has one by name, which not every store takes back.
    places = [{"Key": under[0]["Key"]}] if len(under) == 1 and under[0].get("VersionId") == "null" else under
    owners = [_owner(target, place) for place in places]
    if all(found in {owner, None} for found in owners):
        return list(under)
    _log.warning("bucket %s: an object of another is left under the key %s", target.name, under[0]["Key"])
    return [version for version, found in zip(under, owners, strict=True) if found == owner]


def _owner(target: BucketTarget, version: Mapping[str, str]) -> str | None:
    """Return the export that an object is of, "" if it does not say; None for what is no object (any more)."""
    try:
        return target.call("head_object", version).get("Metadata", {}).get(EXPORT_ID, "")
    except DeliveryRefused as refusal:
        if isinstance(refusal.__cause__, Exception) and error_code(refusal.__cause__) in _NO_OBJECT:
            return None
        raise


def abort_uploads(target: BucketTarget, keys: Iterable[str]) -> None:
    """Abort every multipart upload under exactly these keys, also one whose id was never learnt."""
    for key in keys:
        for found, upload_id in list(_uploads(target, key)):
            if found == key:
                abort_upload(target, key, upload_id)


def abort_upload(target: BucketTarget, key: str, upload_id: str) -> None:
    """Abort one upload; one that S3 does not know (any more) is fine."""
    target.call("abort_multipart_upload", {"Key": key, "UploadId": upload_id}, happened=_is_gone)


def _is_gone(error: Exception) -> Answer | None:
    return {} if error_code(error) == NO_SUCH_UPLOAD else None


def _uploads(target: BucketTarget, prefix: str) -> Iterator[tuple[str, str]]:
    more = ("KeyMarker", "NextKeyMarker"), ("UploadIdMarker", "NextUploadIdMarker")
    for page in _pages(target, "list_multipart_uploads", prefix, more):
        for upload in page.get("Uploads", []):
            yield upload["Key"], upload["UploadId"]


def versions(target: BucketTarget, prefix: str, stop: threading.Event | None = None) -> Iterator[dict[str, str]]:
    """Return {Key, VersionId} of every version and delete marker below a prefix; "null" where there are no versions."""
    more = ("KeyMarker", "NextKeyMarker"), ("VersionIdMarker", "NextVersionIdMarker")
    for page in _pages(target, "list_object_versions", prefix, more, stop):
        for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            yield {"Key": version["Key"], "VersionId": version["VersionId"]}


def _pages(
    target: BucketTarget,
    operation: str,
    prefix: str,
    more: Iterable[tuple[str, str]],
    stop: threading.Event | None = None,
) -> Iterator[Answer]:
    """Return all pages of a listing; `more` maps the request's markers to where the answer has their next values."""
    markers: dict[str, Any] = {}
    while True:
        page = target.call(operation, {"Prefix": prefix, **markers}, stop=stop)
        yield page
        if not page.get("IsTruncated"):
            return
        markers = {marker: page[following] for marker, following in more if page.get(following)}


def _delete(target: BucketTarget, objects: Sequence[Mapping[str, str]]) -> None:
    failed = delete_objects(target, objects)
    if failed:
        codes = sorted({error.get("Code", "") for error in failed})
        message = f"S3 bucket {target.name}: DeleteObjects left {len(failed)} of {len(objects)}: {', '.join(codes)}"
        passing = all(is_passing_code(code) for code in codes)
        raise (DeliveryFailed if passing else DeliveryRefused)(message, payload=target.name)


def delete_objects(
    target: BucketTarget, objects: Sequence[Mapping[str, str]], stop: threading.Event | None = None
) -> list[dict[str, str]]:
    """Delete objects (or versions), a thousand a call; gives what S3 says of those that it did not delete.

    Raises DeliveryFailed or DeliveryRefused when a whole call fails; nothing is sent any more once `stop` is set.
    """
    failed: list[dict[str, str]] = []
    for start in range(0, len(objects), _DELETE_AT_ONCE):
        failed += _delete_at_once(target, objects[start : start + _DELETE_AT_ONCE], stop)
    return failed


def _delete_at_once(
    target: BucketTarget, objects: Sequence[Mapping[str, str]], stop: threading.Event | None
) -> list[dict[str, str]]:
    """Delete up to a thousand objects (or versions); those that S3 only fails to delete just now are tried again."""
    lasting: list[dict[str, str]] = []
    left = objects
    for attempt in itertools.count(1):
        answer = target.call("delete_objects", {"Delete": {"Objects": left, "Quiet": True}}, stop=stop)
        failed: list[dict[str, str]] = answer.get("Errors", [])
        passing = [error for error in failed if is_passing_code(error.get("Code", ""))]
        lasting += [error for error in failed if error not in passing]
        if not passing or attempt >= target.retry.attempts:
            return lasting + passing
        left = [{name: error[name] for name in ("Key", "VersionId") if error.get(name)} for error in passing]
        time.sleep(target.retry.wait_seconds(attempt))
    raise AssertionError  # the count never ends
