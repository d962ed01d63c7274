"""The collections that the service owns, and the one way in which each is opened."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from bson.codec_options import CodecOptions
from pymongo import ReadPreference, WriteConcern
from pymongo.read_concern import ReadConcern

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.database import Database

EXPORTS = "exports"
DELETIONS = "ccpaDeletions"
"""The record of CCPA deletions; one that is not there has nothing open."""
FILE_INDEX = "ccpaFileIndex"
"""Who is in which file, as keyed hashes."""
COUNTERS = "exportFigures"
BREAKERS = "bucketBreakers"
"""The buckets that hang; one that is not there is well."""
AUDIT = "exportAudit"
"""Who asked for what, for as long as that is kept."""
OUTBOX = "notificationOutbox"
"""The notifications that are to be sent, were sent, or could not be."""
CONTROL = "exportControl"
"""What the service knows of itself: the version of its schema, and whether its queue is paused."""

CLOCK_SKEW_SECONDS = 60.0
"""How far the clocks of MongoDB's members may be apart: after a failover, what comes later may have an earlier time."""


def open_owned(database: Database[dict[str, Any]], name: str) -> Collection[dict[str, Any]]:
    """Open one of them: times come aware, in UTC.

    Whatever the client's address says: what was acknowledged survives a failover, and is read where it was written.
    """
    return database.get_collection(
        name,
        codec_options=CodecOptions[dict[str, Any]](tz_aware=True, tzinfo=UTC),
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("local"),
        write_concern=WriteConcern("majority"),
    )
