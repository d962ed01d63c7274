"""What `vfexport doctor` looks at: whatever the service needs, each check by itself and for a bounded time.

``checks`` runs them; the other modules have them: ``mongodb_checks``, ``bucket_checks``, ``key_checks``,
``machine_checks``, ``notification_checks``, ``orchestrator_check``. Nothing is changed but for a small object that
comes and goes in each bucket, and a small file in each folder.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from vfexport_core.doctor.bucket_checks import bucket_checks
from vfexport_core.doctor.key_checks import hash_key_check, key_checks
from vfexport_core.doctor.machine_checks import dagster_home_check, disk_check
from vfexport_core.doctor.mongodb_checks import mongodb_checks
from vfexport_core.doctor.notification_checks import notification_checks
from vfexport_core.doctor.orchestrator_check import orchestrator_check

if TYPE_CHECKING:
    from vfexport_core.doctor.checks import Check
    from vfexport_core.settings import Settings
    from vfexport_core.storage.buckets import BucketClients


class Part(StrEnum):
    """Which of the service's processes the checks are for; each has what it needs, and no more."""

    ALL = "all"
    API = "api"
    CODE = "code"
    DAEMON = "daemon"
    """Dagster's daemon, or its web server: it knows none of this service's settings."""


def daemon_checks() -> list[Check]:
    """Return the checks of what Dagster's own processes need."""
    return [orchestrator_check(), dagster_home_check(), disk_check()]


def checks_for(part: Part, settings: Settings, buckets: BucketClients) -> list[Check]:
    """Return every check for a part, in the order in which they are told."""
    mongodb = mongodb_checks(settings)
    if part is Part.DAEMON:
        return daemon_checks()
    if part is Part.API:
        reading = bucket_checks(buckets, settings.signed_url_seconds, writes=False)
        return [*mongodb, *reading, *key_checks(settings), hash_key_check(settings), disk_check()]
    keys = key_checks(settings) if part is Part.ALL else []
    return [
        *mongodb,
        *bucket_checks(buckets, settings.signed_url_seconds),
        *keys,
        hash_key_check(settings),
        *notification_checks(settings),
        orchestrator_check(),
        dagster_home_check(),
        disk_check(settings.spool_max_bytes),
    ]
