"""Taking away: uploads that were never completed, and objects with all their versions.

Safe to repeat, and safe beside other exports: only exact keys (or one attempt's staging prefix) are touched, and no two
attempts share a key. Every function raises DeliveryFailed or DeliveryRefused when something may be left; none sends
anything any more once `stop` is set.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import DeliveryFailed, DeliveryRefused
from vfexport_core.storage.object_keys import EXPORT_ID, campaign_folder, staging_prefix
from vfexport_core.storage.object_store import ObjectVersion
from vfexport_core.storage.s3.failures import NO_SUCH_UPLOAD, error_code, is_passing_code
from vfexport_core.telemetry.threads import at_once

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Sequence

    from vfexport_core.storage.s3.bucket import Answer, S3Bucket

# What S3 takes in one DeleteObjects.
_DELETE_AT_ONCE = 1000
# From so many files of one campaign on all of it is listed, a thousand files a call, rather than each file.
_WORTH_A_LISTING = 3
# An answer to HEAD has no body, so its code is the status: not there, or a delete marker.
_NO_OBJECT = frozenset({"404", "405", "NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})
# The version of an object in a bucket that keeps none.
_NO_VERSION = "null"

_log = logging.getLogger(__name__)


def discard(
    bucket: S3Bucket, keys: Sequence[str], owner: str | None = None, stop: threading.Event | None = None
) -> None:
    """Leave nothing of these keys: neither uploads nor objects nor versions of them; see `remove` for `owner`."""
    refusals: list[DeliveryRefused] = []
    for step in (lambda: abort_uploads(bucket, keys, stop), lambda: remove(bucket, keys, owner, stop)):
        try:
            step()
        except DeliveryRefused as error:  # a permission that is missing for the one must not keep the other back
            refusals.append(error)
    if refusals:
        raise refusals[0]


def discard_attempt(
    bucket: S3Bucket, export_id: str, attempt: int, keys: Sequence[str], stop: threading.Event | None = None
) -> None:
    """Leave nothing of a lost attempt: its `keys` (as noted before it published) and all that it had staged."""
    discard(bucket, keys, export_id, stop)
    prefix = staging_prefix(export_id, attempt)
    for key, upload_id in _uploads(bucket, prefix, stop):
        abort_upload(bucket, key, upload_id, stop)
    _delete(bucket, list(_versions(bucket, prefix, stop)), stop)


def remove(
    bucket: S3Bucket, keys: Sequence[str], owner: str | None = None, stop: threading.Event | None = None
) -> None:
    """Delete the objects under exactly these keys, in a versioned bucket every version and delete marker.

    Where versions cannot be listed (no permission, or a store that has none) the plain objects are deleted. With
    `owner`, an export's id, a key that does not name it may be another's too: only the export's own objects go then.
    """
    found: list[ObjectVersion] = []
    for key in keys:
        try:
            under = [version for version in _versions(bucket, key, stop) if version.key == key]
        except DeliveryRefused as error:
            _log.info("deleting without versions: %s", error.message)
            under = [ObjectVersion(key)]
        found += under if owner is None or owner in key else _owned(bucket, under, owner)
    _delete(bucket, found, stop)


def find_versions(
    bucket: S3Bucket, keys: Iterable[str], stop: threading.Event | None = None
) -> dict[str, list[ObjectVersion]]:
    """Return what there is, versions and delete markers, of each of these keys that has any.

    Unlike `remove` this is strict: where versions may not be listed, nothing is taken for known.
    """
    wanted = set(keys)
    found: dict[str, list[ObjectVersion]] = defaultdict(list)
    listings = at_once(lambda prefix: list(_versions(bucket, prefix, stop)), _prefixes(wanted))
    for version in itertools.chain.from_iterable(listings):
        if version.key in wanted:
            found[version.key].append(version)
    return dict(found)


def delete_versions(
    bucket: S3Bucket, versions: Sequence[ObjectVersion], stop: threading.Event | None = None
) -> dict[str, DeliveryFailed | DeliveryRefused]:
    """Delete all of these versions, a thousand a call; return the keys of which something is left, each with why.

    Raises DeliveryFailed or DeliveryRefused when a whole call fails.
    """
    failed = _delete_in_groups(bucket, versions, stop)
    return {error["Key"]: _failure(bucket, error.get("Code", "")) for error in failed}


def abort_uploads(bucket: S3Bucket, keys: Iterable[str], stop: threading.Event | None = None) -> None:
    """Abort every multipart upload under exactly these keys, also one whose id was never learnt."""
    for key in keys:
        for found, upload_id in list(_uploads(bucket, key, stop)):
            if found == key:
                abort_upload(bucket, key, upload_id, stop)


def abort_upload(bucket: S3Bucket, key: str, upload_id: str, stop: threading.Event | None = None) -> None:
    """Abort one upload; one that S3 does not know (any more) is fine."""
    params = {"Key": key, "UploadId": upload_id}
    bucket.call("abort_multipart_upload", params, stop=stop, already_applied=_is_gone)


def _is_gone(error: Exception) -> Answer | None:
    return {} if error_code(error) == NO_SUCH_UPLOAD else None


def _place(version: ObjectVersion) -> dict[str, str]:
    """Return the parameters that name a version."""
    return {"Key": version.key} | ({} if version.version_id is None else {"VersionId": version.version_id})


def _owned(bucket: S3Bucket, under: Sequence[ObjectVersion], owner: str) -> list[ObjectVersion]:
    """Return all that is under a key if it is the owner's alone, else just his versions of it.

    A delete marker tells no owner; taken away, it would bring another's deleted object back.
    """
    # The only object of a bucket without versions has one by name, which not every store takes back.
    is_plain = len(under) == 1 and under[0].version_id == _NO_VERSION
    owners = [_owner(bucket, version) for version in ([ObjectVersion(under[0].key)] if is_plain else under)]
    if all(found in {owner, None} for found in owners):
        return list(under)
    _log.warning("bucket %s: an object of another is left under the key %s", bucket.name, under[0].key)
    return [version for version, found in zip(under, owners, strict=True) if found == owner]


def _owner(bucket: S3Bucket, version: ObjectVersion) -> str | None:
    """Return the export that an object is of, "" if it does not say; None for what is no object (any more)."""
    try:
        return bucket.call("head_object", _place(version)).get("Metadata", {}).get(EXPORT_ID, "")
    except DeliveryRefused as refusal:
        if isinstance(refusal.__cause__, Exception) and error_code(refusal.__cause__) in _NO_OBJECT:
            return None
        raise


def _prefixes(keys: set[str]) -> list[str]:
    """Return what to list so that each of the keys is seen, and seen once."""
    folders: dict[str, list[str]] = defaultdict(list)
    for key in sorted(keys):
        folders[campaign_folder(key)].append(key)
    alone = folders.pop("", [])
    whole = [folder for folder, within in folders.items() if len(within) >= _WORTH_A_LISTING]
    alone += [key for folder, within in folders.items() if folder not in whole for key in within]
    # A listing also gives the keys that only begin with a key: which may be another one of those wanted.
    return whole + [key for key in alone if not any(key != other and key.startswith(other) for other in alone)]


def _uploads(bucket: S3Bucket, prefix: str, stop: threading.Event | None) -> Iterator[tuple[str, str]]:
    more = ("KeyMarker", "NextKeyMarker"), ("UploadIdMarker", "NextUploadIdMarker")
    for page in _pages(bucket, "list_multipart_uploads", prefix, more, stop):
        for upload in page.get("Uploads", []):
            yield upload["Key"], upload["UploadId"]


def _versions(bucket: S3Bucket, prefix: str, stop: threading.Event | None) -> Iterator[ObjectVersion]:
    """Return every version and delete marker below a prefix; ``null`` where there are no versions."""
    more = ("KeyMarker", "NextKeyMarker"), ("VersionIdMarker", "NextVersionIdMarker")
    for page in _pages(bucket, "list_object_versions", prefix, more, stop):
        for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            yield ObjectVersion(version["Key"], version["VersionId"])


def _pages(
    bucket: S3Bucket, operation: str, prefix: str, more: Iterable[tuple[str, str]], stop: threading.Event | None
) -> Iterator[Answer]:
    """Return all pages of a listing; `more` maps the request's markers to where the answer has their next values."""
    markers: dict[str, Any] = {}
    while True:
        page = bucket.call(operation, {"Prefix": prefix, **markers}, stop=stop)
        yield page
        if not page.get("IsTruncated"):
            return
        markers = {marker: page[following] for marker, following in more if page.get(following)}


def _delete(bucket: S3Bucket, versions: Sequence[ObjectVersion], stop: threading.Event | None) -> None:
    """Delete versions, and raise the first failure, with how many there are."""
    failed = _delete_in_groups(bucket, versions, stop)
    if failed:
        codes = sorted({error.get("Code", "") for error in failed})
        message = f"S3 bucket {bucket.name}: DeleteObjects left {len(failed)} of {len(versions)}: {', '.join(codes)}"
        passing = all(is_passing_code(code) for code in codes)
        raise (DeliveryFailed if passing else DeliveryRefused)(message, payload=bucket.name)


def _failure(bucket: S3Bucket, code: str) -> DeliveryFailed | DeliveryRefused:
    error = DeliveryFailed if is_passing_code(code) else DeliveryRefused
    return error(f"S3 bucket {bucket.name}: DeleteObjects left a version of a file: {code}", payload=bucket.name)


def _delete_in_groups(
    bucket: S3Bucket, versions: Sequence[ObjectVersion], stop: threading.Event | None
) -> list[dict[str, str]]:
    """Delete versions, a thousand a call; return what S3 says of those that it did not delete."""
    groups = [versions[start : start + _DELETE_AT_ONCE] for start in range(0, len(versions), _DELETE_AT_ONCE)]
    return [error for group in groups for error in _delete_at_once(bucket, group, stop)]


def _delete_at_once(
    bucket: S3Bucket, versions: Sequence[ObjectVersion], stop: threading.Event | None
) -> list[dict[str, str]]:
    """Delete up to a thousand versions; those that S3 only fails to delete just now are tried again."""
    lasting: list[dict[str, str]] = []
    left = [_place(version) for version in versions]
    for attempt in itertools.count(1):
        answer = bucket.call("delete_objects", {"Delete": {"Objects": left, "Quiet": True}}, stop=stop)
        failed: list[dict[str, str]] = answer.get("Errors", [])
        passing = [error for error in failed if is_passing_code(error.get("Code", ""))]
        lasting += [error for error in failed if error not in passing]
        if not passing or attempt >= bucket.retry.attempts:
            return lasting + passing
        left = [{name: error[name] for name in ("Key", "VersionId") if error.get(name)} for error in passing]
        time.sleep(bucket.retry.wait_seconds(attempt))
    raise AssertionError  # the count never ends
