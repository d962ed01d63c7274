"""What ended -> webhooks are told (``services.notifications``)."""

# No postponed annotations here: Dagster reads them when a sensor is declared.

import dagster as dg

from vfexport_core.errors import ConfigurationError
from vfexport_core.settings import load_settings
from vfexport_dagster.resources import MongoResource
from vfexport_dagster.sensors import sensor

SECONDS = 10
IDLE_SECONDS = 60
"""A tick is rows and commits in Dagster's database. No more seldom: the doctor calls a sensor late after 3 minutes."""

_RETRY_SECONDS = 5.0


def build_notification_sensor() -> dg.SensorDefinition:
    """Build the sensor; it ticks seldom when no webhook is set where the definitions are loaded."""

    @sensor(
        "notifications",
        SECONDS if _may_be_needed() else IDLE_SECONDS,
        "Tells the webhooks that are set of exports that ended, lost workers and late deletions.",
    )
    def notifications(mongo: MongoResource) -> dg.SkipReason:
        """Look once."""
        from vfexport_core.services.notifications import look  # noqa: PLC0415 the definitions load without a driver

        return dg.SkipReason(str(look(mongo.backend(retry_seconds=_RETRY_SECONDS))))

    return notifications


def _may_be_needed() -> bool:
    try:
        return bool(load_settings().webhooks)
    except ConfigurationError:  # its ticks will say so
        return True
