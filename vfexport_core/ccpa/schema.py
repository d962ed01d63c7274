"""The indexes and the validator of `ccpaDeletions`: a user's id has no place to go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo import ASCENDING, IndexModel

from vfexport_core.ccpa.records import DeletionStatus
from vfexport_core.mongo.schema_setup import DATE, INT, TEXT, closed

if TYPE_CHECKING:
    from vfexport_core.mongo.document import Document

ORDER = [("date.requested", ASCENDING), ("_id", ASCENDING)]

JOINABLE: Document = {"joinable": True}
"""The open records that later requests for the same user join; older ones, which do not count them, are left alone."""

INDEXES = (
    IndexModel(
        [("userHash", ASCENDING), ("keyCheck", ASCENDING)],
        name="one_open_per_user",
        unique=True,
        partialFilterExpression=JOINABLE,
    ),
    # The open ones, oldest first: few at any time.
    IndexModel([("status", ASCENDING), *ORDER], name="open_order"),
    # What an export of any campaign has to look for in its own file.
    IndexModel([("date.completed", ASCENDING)], name="completion"),
    # What an export of a campaign that was requested before has to respect.
    IndexModel([("campaigns", ASCENDING), ("date.completed", ASCENDING)], name="campaign_by_completion"),
)

_OBJECT_KEY = closed(["bucket", "key"], {"bucket": TEXT, "key": TEXT})
_ERROR = closed(
    ["code", "message", "at"],
    {"code": TEXT, "message": TEXT, "bucket": TEXT, "key": TEXT, "at": DATE},
)
_CAMPAIGN = {"bsonType": "string", "pattern": "^[0-9a-f]{24}$"}
_CAMPAIGNS = {"bsonType": "array", "items": _CAMPAIGN}
_KEY_CHECK = {"bsonType": "string", "pattern": "^[0-9a-f]{16}$"}
_CORRELATION_ID = {"bsonType": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"}
_JOINED = closed(
    ["requestedBy", "correlationId", "at"], {"requestedBy": TEXT, "correlationId": _CORRELATION_ID, "at": DATE}
)
_PEOPLE = closed(
    ["keyCheck", "keys"],
    {"keyCheck": _KEY_CHECK, "keys": {"bsonType": "array", "items": {"bsonType": "binData"}}},
)
_PROPERTIES: Document = {
    "_id": {"bsonType": "objectId"},
    "userHash": {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"},
    "keyCheck": _KEY_CHECK,
    "requestedBy": TEXT,
    "correlationId": _CORRELATION_ID,
    "requests": INT,
    "joinable": {"enum": [True]},
    "joined": {"bsonType": "array", "items": _JOINED},
    "covers": INT,
    "fulfilled": INT,
    "status": {"enum": [status.value for status in DeletionStatus]},
    "date": closed(["requested"], dict.fromkeys(["requested", "effective", "tried", "completed"], DATE)),
    "campaigns": _CAMPAIGNS,
    "search": closed(["after", "found"], {"after": _CAMPAIGN, "found": _CAMPAIGNS}),
    "deletedCount": closed(["exports", "files"], {"exports": INT, "files": INT}),
    "exports": {"bsonType": "array", "items": {"bsonType": "objectId"}},
    "keys": {"bsonType": "array", "items": _OBJECT_KEY},
    "keysOmitted": INT,
    "people": {"bsonType": "array", "items": _PEOPLE},
    "notes": INT,
    "errors": {"bsonType": "array", "items": _ERROR},
    "tries": INT,
    "leaseUntil": DATE,
    "leaseId": {"bsonType": "objectId"},
}
_REQUIRED = [
    *("_id", "userHash", "keyCheck", "requestedBy", "correlationId", "status", "date", "deletedCount"),
    *("exports", "keys", "errors", "tries"),
]
VALIDATOR: Document = {"$jsonSchema": closed(_REQUIRED, _PROPERTIES)}
