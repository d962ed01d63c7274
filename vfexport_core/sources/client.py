"""MongoDB clients and what a failing MongoDB is called."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.errors import ConfigurationError as MongoConfigurationError
from pymongo.errors import ConnectionFailure, InvalidURI, OperationFailure, PyMongoError

from vfexport_core.errors import ConfigurationError, SourceUnavailable
from vfexport_core.sources.raw_batches import REPLY_CODEC

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pymongo import MongoClient
    from pymongo.collection import Collection
    from pymongo.database import Database

    from vfexport_core.settings import Settings

Document = dict[str, Any]

# Decodes whatever a collection may hold: bytes that are not UTF-8 survive as lone surrogates (they are counted and
# replaced when a cell is written), dates beyond the years of Python's datetime stay milliseconds.
SOUND_CODEC: CodecOptions[Document] = CodecOptions(
    unicode_decode_error_handler="surrogateescape", datetime_conversion=DatetimeConversion.DATETIME_MS
)

# A dead server is reported in seconds. One that is busy with a query may be silent for long: a server that sorts or
# projects a large campaign before its first answer needs minutes. Whether it is still there is watched by the driver
# on a connection of its own, which cancels the query when that one is silent for `_CONNECT_MILLIS`.
_SELECTION_MILLIS = 5_000
_CONNECT_MILLIS = 20_000
SCAN_SILENCE_MILLIS = 600_000
_SHOWN_CHARACTERS = 300


def connect(settings: Settings, *, silence_millis: int = SCAN_SILENCE_MILLIS) -> MongoClient[Document]:
    """Make a client for the configured deployment; the caller closes it.

    `silence_millis` is how long an answer may take. No connection is made yet. Raises ConfigurationError
    (VFEXPORT_MONGO_URI) when the address cannot be understood.
    """
    try:
        return pymongo.MongoClient(
            settings.mongo_uri.get_secret_value(),
            appname="vfexport",
            serverSelectionTimeoutMS=_SELECTION_MILLIS,
            connectTimeoutMS=_CONNECT_MILLIS,
            socketTimeoutMS=silence_millis,
            tz_aware=False,
        )
    except (InvalidURI, MongoConfigurationError, ValueError):
        # The driver's message repeats parts of the address, and the address holds a password.
        raise ConfigurationError("VFEXPORT_MONGO_URI is not a MongoDB address", payload="VFEXPORT_MONGO_URI") from None


@contextmanager
def opened(settings: Settings) -> Generator[Database[Document]]:
    """Open the service's database for a block and close its client afterwards."""
    client = connect(settings)
    try:
        yield client[settings.mongo_database]
    finally:
        client.close()


@contextmanager
def reading(collection: str) -> Generator[None]:
    """Turn whatever the driver raises inside the block into SourceUnavailable, naming `collection`."""
    try:
        yield
    except PyMongoError as error:
        raise unavailable(collection, error) from error


@contextmanager
def raw_batches(
    collection: Collection[Document], pipeline: list[dict[str, Any]], batch_documents: int
) -> Generator[Iterator[bytes]]:
    """Run an aggregation and give its answers as they come: concatenated BSON documents, never empty."""
    with collection.with_options(codec_options=REPLY_CODEC).aggregate(pipeline, batchSize=batch_documents) as cursor:
        # The driver's annotation speaks of documents, but what it takes from such a reply are bytes.
        yield cast("Iterator[bytes]", cursor)


def unavailable(collection: str, error: Exception) -> SourceUnavailable:
    """Say that MongoDB failed, on which collection and why."""
    return SourceUnavailable(f"MongoDB failed on collection {collection}: {cause(error)}", payload=collection)


def cause(error: Exception) -> str:
    """Say why MongoDB failed, cut, since driver messages can be pages long.

    What the server says about a command may quote the values that it stumbled over, so that is told by its code; only
    what is said about a connection is told in full.
    """
    name = type(error).__name__
    if isinstance(error, ConnectionFailure):
        return f"{name}: {str(error)[:_SHOWN_CHARACTERS]}"
    if not isinstance(error, OperationFailure) or error.code is None:
        return name
    code_name = (error.details or {}).get("codeName")
    return f"{name}: code {error.code}" + (f" ({code_name})" if code_name else "")
