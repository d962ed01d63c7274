"""The buckets: can each be reached and written to as its exports will do it, and how is it set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.catalog import Bucket, all_specs
from vfexport_core.catalog.spec import Acl
from vfexport_core.doctor.examining import Check, Finding, failure, not_checked, ok, warning
from vfexport_core.errors import DeliveryRefused, VfexportError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfexport_core.delivery.buckets import BucketClients
    from vfexport_core.delivery.probing import Bucket as Probe

# Six requests, each of which may take three seconds to fail; making the first client takes a second or two.
_SECONDS = 25.0
_ENFORCED = "BucketOwnerEnforced"
_OWNERS_OWN = "ObjectWriter"


def bucket_checks(clients: BucketClients) -> list[Check]:
    """Give a check per bucket of the catalog."""

    def check_of(bucket: Bucket) -> Check:
        is_set = bucket in clients.configured
        return Check(bucket.value, _SECONDS, lambda: _look(bucket, clients) if is_set else [_unset(bucket)])

    return [check_of(bucket) for bucket in Bucket]


def _look(bucket: Bucket, clients: BucketClients) -> Iterator[Finding]:
    from vfexport_core.delivery.probing import Bucket as Probe  # noqa: PLC0415 loads botocore

    probe = Probe(clients.impatient(bucket))
    probe.reach()
    yield ok(bucket, f"{probe.target.name} answers")
    acls = sorted({spec.acl for spec in all_specs() if spec.bucket is bucket})
    yield _writable(bucket, probe, acls)
    yield _ownership(bucket, probe, acls)
    yield _versioning(bucket, probe)


def _unset(bucket: Bucket) -> Finding:
    types = ", ".join(spec.type for spec in all_specs() if spec.bucket is bucket)
    return warning(
        bucket, "it is not configured", f"Set VFEXPORT_BUCKETS__*__NAME of it where these are exported: {types}."
    )


def _writable(bucket: Bucket, probe: Probe, acls: list[Acl]) -> Finding:
    name = f"{bucket} writable"
    try:
        probe.write(acls)
    except VfexportError as error:
        return failure(name, error)
    return ok(name, f"an object with ACL {', '.join(acls)} was put and deleted")


def _ownership(bucket: Bucket, probe: Probe, acls: list[Acl]) -> Finding:
    name = f"{bucket} ownership"
    try:
        mode = probe.ownership()
    except DeliveryRefused as error:
        return not_checked(name, error.message, "Allow s3:GetBucketOwnershipControls to whoever runs the doctor.")
    if mode == _ENFORCED:
        return ok(name, f"{mode}: ACL private is left out, which means the same there")
    if mode == _OWNERS_OWN and Acl.BUCKET_OWNER_FULL_CONTROL in acls:
        return warning(
            name,
            f"{mode}: files written by another account belong to that account, whatever their ACL",
            "Set object ownership to BucketOwnerEnforced or BucketOwnerPreferred.",
        )
    return ok(name, f"{mode}: accepts ACL {', '.join(acls)}")


def _versioning(bucket: Bucket, probe: Probe) -> Finding:
    name = f"{bucket} versioning"
    try:
        state = probe.versioning()
    except DeliveryRefused as error:
        return not_checked(name, error.message, "Allow s3:GetBucketVersioning to whoever runs the doctor.")
    kept = "" if state == "Off" else ": deletions take away every version, which needs s3:DeleteObjectVersion"
    return ok(name, f"{state}{kept}")
