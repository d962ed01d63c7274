"""The indexes and the validator of `exports`: the part of the rules that the database holds by itself.

Everything here works on MongoDB 6 and newer (partial indexes with ``$in`` need 6.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError, OperationFailure

from vfexport_core.errors import InitialisationFailed
from vfexport_core.queue.models import ACTIVE, ExportStatus
from vfexport_core.sources.faults import RetryLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.collection import Collection

    from vfexport_core.queue.models import Document

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
    # Attempts by their end: what ended since the figures were last brought up to date (queue/figures.py).
    IndexModel([("attempts.ended", ASCENDING)], name="attempts_by_end"),
    # The latest that FINISHED: how long such exports took of late (queue/estimate.py).
    IndexModel([("status", ASCENDING), ("date.finished", DESCENDING)], name="by_status_and_end"),
    # What lost attempts may have left on S3; few at any time.
    IndexModel(
        [("cleanupDue", ASCENDING)], name="to_clean_up", partialFilterExpression={"cleanupDue": {"$exists": True}}
    ),
)

INDEX_BUILD_LIMITS = RetryLimits(120.0)
"""An index over many documents takes a while to build; that MongoDB answers at all is found out before."""

DIFFERS = "differs from ours"

_NAMESPACE_EXISTS = 48
_INDEX_CONFLICTS = frozenset({85, 86})
# Older servers, and others that speak MongoDB's protocol: no `$in` in the condition of an index.
_NO_SUCH_INDEX = frozenset({67, 303})
# What makes an index what it is.
_DEFINING = ("key", "unique", "partialFilterExpression")

INT: Document = {"bsonType": ["int", "long"], "minimum": 0}
DATE: Document = {"bsonType": "date"}
TEXT: Document = {"bsonType": "string"}
_STATUS: Document = {"enum": [status.value for status in ExportStatus]}
_DIGEST: Document = {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"}
TEXTS: Document = {"bsonType": "array", "items": TEXT}
_FIGURE: Document = {"bsonType": ["int", "long", "double", "bool"]}


def closed(required: list[str], properties: Document) -> Document:
    """Give the schema of a document that has no other fields: a token or a fan's data has no place to go."""
    return {"bsonType": "object", "required": required, "additionalProperties": False, "properties": properties}


def _figures(depth: int) -> Document:
    """Give the schema of a document of numbers and booleans, nested `depth` levels at most."""
    values = _FIGURE if depth == 1 else {"anyOf": [_FIGURE, _figures(depth - 1)]}
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
        "settled": {"bsonType": "bool"},
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
    "source": {"enum": ["api", "dagster"]},
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
    "cleanupDue": DATE,
    "requests": INT,
    "bucket": TEXT,
    "key": TEXT,
    "keys": TEXTS,
    "count": INT,
    "progress": closed(["read", "rows", "bytes"], {"read": INT, "rows": INT, "bytes": INT, "updated": DATE}),
    "bytes": INT,
    "sha256": {"anyOf": [_DIGEST, {"bsonType": "array", "items": _DIGEST}]},
    "meta": _figures(depth=3),
    "error": _ERROR,
}
_REQUIRED = [
    *("_id", "campaignId", "campaignName", "exportType", "status", "requesterUserId", "correlationId", "source"),
    *("date", "attempt", "attempts"),
]
VALIDATOR: Document = {"$jsonSchema": closed(_REQUIRED, _PROPERTIES)}


def put_validator(collection: Collection[dict[str, Any]], validator: Document) -> None:
    """Create the collection with its validator, or give the existing one the present validator."""
    options: Document = {"validator": validator, "validationLevel": "strict", "validationAction": "error"}
    try:
        collection.database.create_collection(collection.name, check_exists=False, **options)
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:
            raise
    # Also after creating: some servers take the creation of a collection that exists for done.
    collection.database.command("collMod", collection.name, **options)


def put_indexes(collection: Collection[dict[str, Any]], indexes: Sequence[IndexModel]) -> None:
    """Create the indexes that are not there yet.

    Raises InitialisationFailed when an index of that name or those fields has another definition, when the server
    cannot have such ones, or when documents that are there already break the rule that a unique index stands for.
    """
    try:
        collection.create_indexes([*indexes])
    except OperationFailure as error:
        if isinstance(error, DuplicateKeyError):
            what = "holds documents that break the rule of a unique index"
        elif error.code in _INDEX_CONFLICTS:
            what = f"has an index that {DIFFERS}"
        elif error.code in _NO_SUCH_INDEX:
            what = "cannot have our indexes on this server: MongoDB 6 or newer is needed"
        else:
            raise
        raise InitialisationFailed(f"collection {collection.name} {what}: {error}", payload=collection.name) from error


def differences(
    collection: Collection[dict[str, Any]], indexes: Sequence[IndexModel], validator: Document
) -> list[str]:
    """Say, in a few words each, what `put_indexes` and `put_validator` would change or stumble over.

    Nothing when all is in place.
    """
    found = {index["name"]: index for index in collection.list_indexes()}
    wanted = {index.document["name"]: index.document for index in indexes}
    texts = [f"index {name} is missing" for name in wanted if name not in found]
    texts += [
        f"index {name} {DIFFERS}"
        for name in wanted.keys() & found.keys()
        if any(_plain(found[name].get(part)) != _plain(wanted[name].get(part)) for part in _DEFINING)
    ]
    if collection.options().get("validator") != validator:
        texts.append("the validator is missing or an older one")
    return sorted(texts)


def _plain(value: Any) -> Any:
    """Make definitions comparable: key order matters, the kind of mapping does not."""
    return list(value.items()) if hasattr(value, "items") else value
