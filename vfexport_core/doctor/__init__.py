"""What `vfexport doctor` looks at: whatever the service needs, each check by itself and for a bounded time.

``examining`` runs checks; the other modules have them: ``mongodb``, ``buckets``, ``keys``, ``orchestrator``. Nothing is
changed but for a small object that comes and goes in each bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.doctor.buckets import bucket_checks
from vfexport_core.doctor.keys import key_checks
from vfexport_core.doctor.mongodb import mongodb_checks
from vfexport_core.doctor.orchestrator import orchestrator_check

if TYPE_CHECKING:
    from vfexport_core.doctor.checks import Check
    from vfexport_core.settings import Settings
    from vfexport_core.storage.buckets import BucketClients


def all_checks(settings: Settings, buckets: BucketClients) -> list[Check]:
    """Return every check, in the order in which they are told."""
    return [
        *mongodb_checks(settings),
        *bucket_checks(buckets, settings.signed_url_seconds),
        *key_checks(settings),
        orchestrator_check(),
    ]
