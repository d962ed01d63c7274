"""Deleting files for good: what is there under exactly these keys, in all versions, and what of it would not go.

Unlike `cleanup.remove` this is strict: where a bucket's versions may not be listed, nothing is taken for deleted.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

from vfexport_core.errors import DeliveryFailed, DeliveryRefused
from vfexport_core.storage.cleanup import delete_objects, versions
from vfexport_core.storage.failures import is_passing_code
from vfexport_core.storage.keys import campaign_folder
from vfexport_core.telemetry.threads import at_once

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping

    from vfexport_core.storage.target import BucketTarget

# From so many files of one campaign on all of it is listed, a thousand files a call, rather than each file.
_WORTH_A_LISTING = 3

Versions = dict[str, list[dict[str, str]]]


def find_versions(target: BucketTarget, keys: Iterable[str], stop: threading.Event | None = None) -> Versions:
    """Return what there is, versions and delete markers, of each of these keys that has any.

    Raises DeliveryFailed or DeliveryRefused when that cannot be known. Nothing is sent any more once `stop` is set.
    """
    wanted = set(keys)
    found: Versions = defaultdict(list)
    listings = at_once(lambda prefix: list(versions(target, prefix, stop)), _prefixes(wanted))
    for version in itertools.chain.from_iterable(listings):
        if version["Key"] in wanted:
            found[version["Key"]].append(version)
    return dict(found)


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
