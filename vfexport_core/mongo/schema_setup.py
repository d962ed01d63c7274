"""What the service sets up on its own collections: validators and indexes, created or brought up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError, OperationFailure

from vfexport_core.errors import InitialisationFailed
from vfexport_core.mongo.retry import RetryLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo import IndexModel
    from pymongo.collection import Collection

    from vfexport_core.mongo.document import Document

INDEX_BUILD_LIMITS = RetryLimits(120.0)
"""An index over many documents takes a while to build; that MongoDB answers at all is found out before."""

DIFFERS = "differs from ours"
NO_VALIDATOR = "the validator is missing or an older one"

_NAMESPACE_EXISTS = 48
_INDEX_CONFLICTS = frozenset({85, 86})
# Older servers, and others that speak MongoDB's protocol: no `$in` in the condition of an index.
_NO_SUCH_INDEX = frozenset({67, 303})
# What makes an index what it is.
_DEFINING = ("key", "unique", "partialFilterExpression")

INT: Document = {"bsonType": ["int", "long"], "minimum": 0}
DATE: Document = {"bsonType": "date"}
TEXT: Document = {"bsonType": "string"}
TEXTS: Document = {"bsonType": "array", "items": TEXT}


def closed(required: list[str], properties: Document) -> Document:
    """Return the schema of a document that has no other fields: a token or a fan's data has no place to go."""
    return {"bsonType": "object", "required": required, "additionalProperties": False, "properties": properties}


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
    """Return, in a few words each, what `put_indexes` and `put_validator` would change or stumble over.

    Nothing when all is in place.
    """
    texts = missing_indexes(collection, indexes)
    if collection.options().get("validator") != validator:
        texts.append(NO_VALIDATOR)
    return sorted(texts)


def read_validators(collections: Sequence[Collection[dict[str, Any]]]) -> dict[str, Document | None]:
    """Return the validators of a database's collections by their names, asked for at once."""
    one = collections[0]
    database = one.database.with_options(read_preference=one.read_preference)
    named = {"name": {"$in": [collection.name for collection in collections]}}
    return {
        found["name"]: found.get("options", {}).get("validator") for found in database.list_collections(filter=named)
    }


def missing_indexes(collection: Collection[dict[str, Any]], indexes: Sequence[IndexModel]) -> list[str]:
    """Describe, in a few words each, which of these indexes are missing or defined otherwise."""
    found = {index["name"]: index for index in collection.list_indexes()}
    wanted = {index.document["name"]: index.document for index in indexes}
    texts = [f"index {name} is missing" for name in wanted if name not in found]
    texts += [
        f"index {name} {DIFFERS}"
        for name in wanted.keys() & found.keys()
        if any(_plain(found[name].get(part)) != _plain(wanted[name].get(part)) for part in _DEFINING)
    ]
    return texts


def _plain(value: Any) -> Any:
    """Make definitions comparable: key order matters, the kind of mapping does not."""
    return list(value.items()) if hasattr(value, "items") else value
