"""Deleting files for good: what is there under exactly these keys, in all versions, and what of it would not go.

Unlike `cleanup.remove` this is strict: where a bucket's versions may not be listed, nothing is taken for deleted.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from vfexport_core.delivery.cleanup import delete_objects, versions
from vfexport_core.delivery.failures import is_passing_code
from vfexport_core.errors import DeliveryFailed, DeliveryRefused

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping

    from vfexport_core.delivery.target import BucketTarget

# From so many files of one folder on the folder is listed, a thousand of its files a call, rather than each file.
_WORTH_A_LISTING = 3

Versions = dict[str, list[dict[str, str]]]


def find_versions(target: BucketTarget, keys: Iterable[str], stop: threading.Event | None = None) -> Versions:
    """Give what there is, versions and delete markers, of each of these keys that has any.

    Raises DeliveryFailed or DeliveryRefused when that cannot be known. Nothing is sent any more once `stop` is set.
    """
    folders: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        folders[key.rpartition("/")[0]].add(key)
    found: Versions = defaultdict(list)
    for folder, wanted in folders.items():
        listings = (
            [(f"{folder}/", wanted)]
            if folder and len(wanted) >= _WORTH_A_LISTING
            else [(key, {key}) for key in sorted(wanted)]
        )
        for prefix, exact in listings:
            for version in versions(target, prefix, stop):
                if version["Key"] in exact:
                    found[version["Key"]].append(version)
    return dict(found)


def erase(
    target: BucketTarget, found: Mapping[str, list[dict[str, str]]], stop: threading.Event | None = None
) -> dict[str, DeliveryFailed | DeliveryRefused]:
    """Delete all of these versions; gives the keys of which something is left, each with why.

    Raises DeliveryFailed or DeliveryRefused when a whole call fails.
    """
    failed = delete_objects(target, [version for entries in found.values() for version in entries], stop)
    return {error["Key"]: _failure(target, error.get("Code", "")) for error in failed}


def _failure(target: BucketTarget, code: str) -> DeliveryFailed | DeliveryRefused:
    error = DeliveryFailed if is_passing_code(code) else DeliveryRefused
    return error(f"S3 bucket {target.name}: DeleteObjects left a version of a file: {code}", payload=target.name)
