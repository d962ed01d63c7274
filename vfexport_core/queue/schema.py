"""The indexes and the validator of `exports`: the part of the rules that the database holds by itself.

Everything here works on MongoDB 6 and newer (partial indexes with ``$in`` need 6.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from pymongo import ASCENDING, DESCENDING, IndexModel

from vfexport_core.mongo.schema_setup import DATE, INT, TEXT, TEXTS, closed
from vfexport_core.queue.models import ACTIVE, ExportStatus, FileProblem, Source

if TYPE_CHECKING:
    from vfexport_core.mongo.document import Document

ORDER = [("date.created", ASCENDING), ("_id", ASCENDING)]
ORDER_NEWEST_FIRST = [("date.created", DESCENDING), ("_id", DESCENDING)]

INDEXES = (
    # L2: there can be one document with status TRIGGERED.
    IndexModel(
        [("status", ASCENDING)],
        name="one_triggered",
        unique=True,
        partialFilterExpression={"status": ExportStatus.TRIGGERED.value},
    ),
    # L3: a missing dateKey is a value like any other to a unique index, which is just what is wanted.
    IndexModel(
        [("campaignId", ASCENDING), ("exportType", ASCENDING), ("dateKey", ASCENDING)],
        name="one_active_per_campaign_type_date",
        unique=True,
        partialFilterExpression={"status": {"$in": sorted(ACTIVE)}},
    ),
    IndexModel([("status", ASCENDING), *ORDER], name="queue_order"),
    IndexModel([("campaignId", ASCENDING), *ORDER], name="campaign_order"),
    # Attempts by their end: what ended since the counters were last brought up to date (queue/statistics/counters.py).
    IndexModel([("attempts.ended", ASCENDING)], name="attempts_by_end"),
    # The latest that FINISHED: how long such exports took of late (queue/statistics/estimates.py).
    IndexModel([("status", ASCENDING), ("date.finished", DESCENDING)], name="by_status_and_end"),
    # What lost attempts may have left on S3; few at any time.
    IndexModel(
        [("cleanupDue", ASCENDING)], name="to_clean_up", partialFilterExpression={"cleanupDue": {"$exists": True}}
    ),
)

_STATUS: Document = {"enum": [status.value for status in ExportStatus]}
_DIGEST: Document = {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"}
_NUMBER: Document = {"bsonType": ["int", "long", "double", "bool"]}


def _numbers(depth: int) -> Document:
    """Return the schema of a document of numbers and booleans, nested `depth` levels at most."""
    values = _NUMBER if depth == 1 else {"anyOf": [_NUMBER, _numbers(depth - 1)]}
    return {"bsonType": "object", "additionalProperties": values}


_ERROR = closed(["code", "message"], {"code": TEXT, "message": TEXT, "payload": {"bsonType": ["string", "null"]}})
_ATTEMPT = closed(
    ["attempt", "status"],
    {
        "attempt": INT,
        "runId": TEXT,
        "status": _STATUS,
        "queued": DATE,
        "triggered": DATE,
        "ended": DATE,
        "rows": INT,
        "bytes": INT,
        "error": _ERROR,
        "bucket": TEXT,
        "keys": TEXTS,
        "cleaned": {"bsonType": "bool"},
        "settled": {"bsonType": "bool"},  # `Attempt.drained`; see docs/architecture.md for why it keeps this name
        "followed": {"bsonType": "bool"},
    },
)
_PROPERTIES: Document = {
    "_id": {"bsonType": "objectId"},
    "campaignId": {"bsonType": "string", "pattern": "^[0-9a-f]{24}$"},
    "campaignName": TEXT,
    "exportType": {"bsonType": "string", "pattern": "^[a-z][A-Za-z]{0,63}$"},
    "status": _STATUS,
    "dateKey": {"bsonType": "string", "pattern": "^[0-9]+$"},
    "includeAllMarkets": {"bsonType": "bool"},
    "requesterUserId": TEXT,
    "correlationId": {"bsonType": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    "source": {"enum": [*get_args(Source)]},
    "date": closed(
        ["created"],
        dict.fromkeys(["created", "triggered", "finished", "failed", "expired", "canceled"], DATE),
    ),
    "attempt": INT,
    "attempts": {"bsonType": "array", "items": _ATTEMPT},
    "queued": DATE,
    "runId": TEXT,
    "claimId": TEXT,
    "leaseUntil": DATE,
    "cancelRequested": DATE,
    "retryAt": DATE,
    "autoRetries": INT,
    "cleanupDue": DATE,
    "requests": INT,  # written by earlier versions
    "bucket": TEXT,
    "key": TEXT,
    "keys": TEXTS,
    "count": INT,
    "progress": closed(["read", "rows", "bytes"], {"read": INT, "rows": INT, "bytes": INT, "updated": DATE}),
    "bytes": INT,
    "sha256": {"anyOf": [_DIGEST, {"bsonType": "array", "items": _DIGEST}]},
    "meta": _numbers(depth=3),
    "error": _ERROR,
    "fileProblem": {"enum": [problem.value for problem in FileProblem]},
}
_REQUIRED = [
    *("_id", "campaignId", "campaignName", "exportType", "status", "requesterUserId", "correlationId", "source"),
    *("date", "attempt", "attempts"),
]
VALIDATOR: Document = {"$jsonSchema": closed(_REQUIRED, _PROPERTIES)}
