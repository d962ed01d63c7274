"""Trying a bucket out, as exports use it: a small object is put, with each ACL that is needed, and deleted again."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.delivery.failures import error_code
from vfexport_core.delivery.keys import probe_key
from vfexport_core.delivery.target import acl_params
from vfexport_core.errors import DeliveryRefused, VfexportError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfexport_core.delivery.target import BucketTarget

# What S3 says of a bucket from before there were ownership modes: the same as the oldest mode.
_NO_CONTROLS = "OwnershipControlsNotFoundError"
OLDEST_MODE = "ObjectWriter"


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket that is tried out; every method raises DeliveryFailed or DeliveryRefused."""

    target: BucketTarget

    def reach(self) -> None:
        """Ask whether it is there."""
        self.target.call("head_bucket", {})

    def write(self, acls: Iterable[str]) -> None:
        """Put an object with each of these ACLs and take it away again, with its version if it has one."""
        for acl in acls:
            key = probe_key(secrets.token_hex(8))
            try:
                answer = self.target.call("put_object", {"Key": key, "Body": b"", **acl_params(acl)})
            except VfexportError:
                with suppress(VfexportError):  # what S3 did not confirm may be there
                    self.target.call("delete_object", {"Key": key})
                raise
            version = {name: value for name, value in answer.items() if name == "VersionId"}
            self.target.call("delete_object", {"Key": key, **version})

    def ownership(self) -> str:
        """Give the mode of object ownership: BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter."""
        try:
            answer = self.target.call("get_bucket_ownership_controls", {})
        except DeliveryRefused as error:
            if error.__cause__ is not None and error_code(error.__cause__) == _NO_CONTROLS:  # pyright: ignore[reportArgumentType]
                return OLDEST_MODE
            raise
        rules = answer.get("OwnershipControls", {}).get("Rules", [])
        return rules[0]["ObjectOwnership"] if rules else OLDEST_MODE

    def versioning(self) -> str:
        """Give ``Enabled``, ``Suspended`` or ``Off``."""
        return self.target.call("get_bucket_versioning", {}).get("Status", "Off")
