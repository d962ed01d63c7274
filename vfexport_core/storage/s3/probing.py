"""Trying a bucket out, as exports use it: a small object is put, with each ACL that is needed, and deleted again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import DeliveryRefused, VfexportError
from vfexport_core.storage.object_keys import STAGING_FOLDER, probe_key
from vfexport_core.storage.s3.bucket import acl_params
from vfexport_core.storage.s3.failures import is_absent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vfexport_core.storage.s3.bucket import Answer, S3Bucket

# A bucket from before there were ownership modes has none, which is the same as this one.
OLDEST_MODE = "ObjectWriter"
_SESSION = "X-Amz-Security-Token="


class CleanupRule(Enum):
    """A lifecycle rule that takes away what a killed process leaves behind, by its name in S3."""

    UPLOADS = "AbortIncompleteMultipartUpload"
    OBJECTS = "Expiration"
    VERSIONS = "NoncurrentVersionExpiration"
    """Of a versioned bucket alone."""


@dataclass(frozen=True, slots=True)
class BucketProbe:
    """One bucket that is tried out; every method raises DeliveryFailed or DeliveryRefused."""

    bucket: S3Bucket

    def reach(self) -> str | None:
        """Ask whether it is there; gives its region, if the store says that."""
        return self.bucket.call("head_bucket", {}).get("BucketRegion")

    def write(self, acls: Iterable[str]) -> None:
        """Put an object with each of these ACLs and take it away again, with its version if it has one."""
        for acl in acls:
            key = probe_key("write")  # always the same: what a hanging bucket took late goes with the next probe
            try:
                answer = self.bucket.call("put_object", {"Key": key, "Body": b"", **acl_params(acl)})
            except VfexportError:
                with suppress(VfexportError):  # what S3 did not confirm may be there
                    self.bucket.call("delete_object", {"Key": key})
                raise
            version = {name: value for name, value in answer.items() if name == "VersionId"}
            self.bucket.call("delete_object", {"Key": key, **version})

    def ownership(self) -> str:
        """Return the mode of object ownership: BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter."""
        rules = self._configuration("get_bucket_ownership_controls").get("OwnershipControls", {}).get("Rules", [])
        return rules[0]["ObjectOwnership"] if rules else OLDEST_MODE

    def versioning(self) -> str:
        """Return ``Enabled``, ``Suspended`` or ``Off``."""
        return self.bucket.call("get_bucket_versioning", {}).get("Status", "Off")

    def cleanup_rules(self) -> frozenset[CleanupRule]:
        """Return which of the rules that take leftovers of staging away are in force, for all that is staged."""
        rules = self._configuration("get_bucket_lifecycle_configuration").get("Rules", [])
        in_force = [rule for rule in rules if rule.get("Status") == "Enabled" and _covers_staging(rule)]
        return frozenset(wanted for wanted in CleanupRule if any(wanted.value in rule for rule in in_force))

    def retains_by_default(self) -> bool:
        """Return whether Object Lock keeps every new object from being deleted."""
        lock = self._configuration("get_object_lock_configuration").get("ObjectLockConfiguration", {})
        return bool(lock.get("Rule", {}).get("DefaultRetention"))

    def signs_with_session(self) -> bool:
        """Return whether the addresses that are signed die with the session of a role, or another temporary one."""
        params = {"Bucket": self.bucket.name, "Key": probe_key("address")}
        return _SESSION in self.bucket.client.generate_presigned_url("get_object", Params=params, ExpiresIn=1)

    def _configuration(self, operation: str) -> Answer:
        """Ask for a part of how the bucket is set up; empty where that was never set."""
        try:
            return self.bucket.call(operation, {})
        except DeliveryRefused as error:
            if is_absent(error.__cause__):
                return {}
            raise


def _covers_staging(rule: Mapping[str, Any]) -> bool:
    """Return whether a rule is for all that is below the staging folder; one for some tags or sizes is not."""
    conditions = rule.get("Filter") or {"Prefix": rule.get("Prefix", "")}
    conditions = conditions.get("And", conditions)
    return conditions.keys() == {"Prefix"} and STAGING_FOLDER.startswith(conditions["Prefix"])
