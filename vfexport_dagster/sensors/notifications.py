"""What ended -> webhooks are told (``services.notifications``)."""

# No postponed annotations here: Dagster reads them when a sensor is declared.

import dagster as dg

from vfexport_dagster.resources import MongoResource
from vfexport_dagster.sensors import sensor

_RETRY_SECONDS = 5.0


@sensor("notifications", 10, "Tells the webhooks that are set of exports that ended, lost workers and late deletions.")
def notifications(mongo: MongoResource) -> dg.SkipReason:
    """Look once."""
    from vfexport_core.services.notifications import look  # noqa: PLC0415 the definitions load without a driver

    return dg.SkipReason(str(look(mongo.backend(retry_seconds=_RETRY_SECONDS))))
