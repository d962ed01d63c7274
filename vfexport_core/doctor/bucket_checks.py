"""The buckets: can each be reached and written to as its exports will do it, and how is it set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.catalog import Bucket, all_specs
from vfexport_core.catalog.spec import Acl
from vfexport_core.doctor.checks import Check, Finding, Outcome, failed, failure, not_checked, ok, warning
from vfexport_core.errors import DeliveryRefused, VfexportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vfexport_core.storage.buckets import BucketClients
    from vfexport_core.storage.s3.probing import BucketProbe

# Eight requests, each of which may take three seconds to fail; making the first client takes a second or two.
_SECONDS = 30.0
# A session is renewed a quarter of an hour before its end: what it signs until then is good for as long.
_SESSION_SECONDS = 900
_ENFORCED = "BucketOwnerEnforced"
_OWNERS_OWN = "ObjectWriter"
_UNVERSIONED = "Off"


def bucket_checks(clients: BucketClients, signed_url_seconds: int, *, writes: bool = True) -> list[Check]:
    """Return a check per bucket of the catalog; addresses are signed for so many seconds.

    Whoever does not write files, and may not be allowed to, only looks whether it can reach and sign.
    """

    def look(bucket: Bucket) -> Iterable[Finding]:
        if bucket not in clients.configured:
            return [_unset(bucket)]
        return _look(bucket, clients, signed_url_seconds, writes=writes)

    def check_of(bucket: Bucket) -> Check:
        return Check(bucket.value, _SECONDS, lambda: look(bucket))

    return [check_of(bucket) for bucket in Bucket]


def _look(bucket: Bucket, clients: BucketClients, signed_url_seconds: int, *, writes: bool) -> Iterator[Finding]:
    from vfexport_core.storage.s3.probing import BucketProbe  # noqa: PLC0415 loads botocore

    probe = BucketProbe(clients.impatient(bucket))
    region = probe.reach()
    yield ok(bucket, f"{probe.bucket.name} answers")
    yield _region(bucket, clients, probe, region)
    if writes:
        yield from _look_as_writer(bucket, probe)
    yield _signed_urls(bucket, probe, signed_url_seconds)


def _look_as_writer(bucket: Bucket, probe: BucketProbe) -> Iterator[Finding]:
    acls = sorted({spec.acl for spec in all_specs() if spec.bucket is bucket})
    lock = _object_lock(bucket, probe)
    yield lock
    # What is put into a locked bucket stays there.
    yield _locked(bucket) if lock.outcome is Outcome.FAILED else _writable(bucket, probe, acls)
    yield _ownership(bucket, probe, acls)
    version = _versioning(bucket, probe)
    yield version
    yield _lifecycle(bucket, probe, is_versioned=version.detail != _UNVERSIONED)


def _unset(bucket: Bucket) -> Finding:
    types = ", ".join(spec.type for spec in all_specs() if spec.bucket is bucket)
    return warning(
        bucket, "it is not configured", f"Set VFEXPORT_BUCKETS__*__NAME of it where these are exported: {types}."
    )


def _writable(bucket: Bucket, probe: BucketProbe, acls: list[Acl]) -> Finding:
    name = f"{bucket} writable"
    try:
        probe.write(acls)
    except VfexportError as error:
        return failure(name, error)
    return ok(name, f"an object with ACL {', '.join(acls)} was put and deleted")


def _ownership(bucket: Bucket, probe: BucketProbe, acls: list[Acl]) -> Finding:
    name = f"{bucket} ownership"
    try:
        mode = probe.ownership()
    except DeliveryRefused as error:
        return not_checked(name, error.message, "Allow s3:GetBucketOwnershipControls to whoever runs the doctor.")
    if mode == _ENFORCED:
        return ok(name, f"{mode}: every file belongs to the bucket's owner")
    if mode == _OWNERS_OWN and Acl.BUCKET_OWNER_FULL_CONTROL in acls:
        return warning(
            name,
            f"{mode}: files written by another account belong to that account, whatever their ACL",
            "Set object ownership to BucketOwnerEnforced or BucketOwnerPreferred.",
        )
    return ok(name, f"{mode}: accepts ACL {', '.join(acls)}")


def _versioning(bucket: Bucket, probe: BucketProbe) -> Finding:
    name = f"{bucket} versioning"
    try:
        state = probe.versioning()
    except DeliveryRefused as error:
        return not_checked(name, error.message, "Allow s3:GetBucketVersioning to whoever runs the doctor.")
    if state == _UNVERSIONED:
        return ok(name, state)
    return ok(name, f"{state}: deletions take away every version, which needs s3:DeleteObjectVersion")


def _lifecycle(bucket: Bucket, probe: BucketProbe, *, is_versioned: bool) -> Finding:
    from vfexport_core.storage.s3.probing import CleanupRule  # noqa: PLC0415 loads botocore

    name = f"{bucket} lifecycle"
    try:
        rules = probe.cleanup_rules()
    except DeliveryRefused as error:
        return not_checked(name, error.message, "Allow s3:GetLifecycleConfiguration to whoever runs the doctor.")
    wanted = {*CleanupRule} if is_versioned else {CleanupRule.UPLOADS, CleanupRule.OBJECTS}
    missing = sorted(rule.value for rule in wanted - rules)
    if not missing:
        return ok(name, "what a killed process leaves below _staging/ is taken away")
    return warning(
        name,
        f"no rule for all of _staging/ has {', '.join(missing)}: what a killed process leaves stays, with fans' data",
        "Add each, of a day, for the prefix _staging/ to the lifecycle rules.",
    )


def _object_lock(bucket: Bucket, probe: BucketProbe) -> Finding:
    name = f"{bucket} object lock"
    try:
        retains = probe.retains_by_default()
    except DeliveryRefused as error:
        return not_checked(name, error.message, "Allow s3:GetBucketObjectLockConfiguration to whoever runs the doctor.")
    if not retains:
        return ok(name, "no default retention")
    return failed(
        name,
        "a default retention keeps files from being deleted: staging objects, failed attempts, CCPA deletions",
        "Take the default retention away, or use another bucket.",
    )


def _locked(bucket: Bucket) -> Finding:
    return not_checked(f"{bucket} writable", "what is put there could not be deleted", "See its Object Lock.")


def _region(bucket: Bucket, clients: BucketClients, probe: BucketProbe, actual: str | None) -> Finding:
    name = f"{bucket} region"
    variables, settings = clients.find(bucket)
    signed: str = probe.bucket.client.meta.region_name
    if settings.endpoint_url or actual is None:
        return ok(name, f"requests are signed for {signed}")
    if actual == signed:
        return ok(name, actual)
    return warning(
        name,
        f"it is in {actual}, but requests and addresses are signed for {signed}, which S3 refuses for downloads",
        f"Set {variables}REGION to {actual}.",
    )


def _signed_urls(bucket: Bucket, probe: BucketProbe, seconds: int) -> Finding:
    name = f"{bucket} signed urls"
    if seconds <= _SESSION_SECONDS or not probe.signs_with_session():
        return ok(name, f"good for {seconds} s")
    return warning(
        name,
        f"they are to be good for {seconds} s, but die earlier, with the session of the role that signs them",
        f"Set VFEXPORT_SIGNED_URL_SECONDS to {_SESSION_SECONDS} or less, or let a key pair sign.",
    )
