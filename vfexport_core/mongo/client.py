"""MongoDB clients and what a failing MongoDB is called."""

from __future__ import annotations

import atexit
import logging
import ssl
import threading
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import dns.exception
import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.errors import BulkWriteError, ConnectionFailure, InvalidURI, OperationFailure, PyMongoError
from pymongo.errors import ConfigurationError as MongoConfigurationError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference, make_read_preference, read_pref_mode_from_name

from vfexport_core.errors import ConfigurationError, SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pymongo import MongoClient
    from pymongo.collection import Collection
    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.settings import ReadPreferenceName

_log = logging.getLogger(__name__)

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
_AWS, _AWS_PACKAGE = "MONGODB-AWS", "pymongo_auth_aws"


class _Secret(Protocol):
    def get_secret_value(self) -> str: ...


class MongoSettings(Protocol):
    """What of the settings says where MongoDB is, how to log in, and which members are read in bulk."""

    @property
    def mongo_uri(self) -> _Secret: ...
    @property
    def mongo_database(self) -> str: ...
    @property
    def mongo_tls_ca_file(self) -> str | None: ...
    @property
    def mongo_tls_certificate_file(self) -> str | None: ...
    @property
    def mongo_auth_mechanism(self) -> str | None: ...
    @property
    def scan_read_preference(self) -> ReadPreferenceName: ...
    @property
    def scan_tags(self) -> Mapping[str, str]: ...
    @property
    def scan_max_staleness_seconds(self) -> int | None: ...


def connect(settings: MongoSettings, *, silence_millis: int = SCAN_SILENCE_MILLIS) -> MongoClient[Document]:
    """Make a client for the configured deployment; the caller closes it.

    `silence_millis` is how long an answer may take. No connection is made yet, and no name is resolved: the first
    operation does both, and meets what passes by itself. Raises ConfigurationError (VFEXPORT_MONGO_URI) when the
    address cannot be understood, for certificates that cannot be read, and for a mechanism whose package is missing.
    """
    login = _login(settings)
    try:
        return pymongo.MongoClient(
            settings.mongo_uri.get_secret_value(),
            **login,
            connect=False,
            appname="vfexport",
            serverSelectionTimeoutMS=_SELECTION_MILLIS,
            connectTimeoutMS=_CONNECT_MILLIS,
            socketTimeoutMS=silence_millis,
            tz_aware=False,
        )
    except (InvalidURI, MongoConfigurationError, ValueError):
        # The driver's message repeats parts of the address, and the address holds a password.
        raise ConfigurationError("VFEXPORT_MONGO_URI is not a MongoDB address", payload="VFEXPORT_MONGO_URI") from None


def connect_shared(settings: MongoSettings) -> MongoClient[Document]:
    """Return the client that this process has for the configured deployment; it stays open until the process ends."""
    uri = settings.mongo_uri.get_secret_value()
    with _lock:
        if uri not in _shared:
            _shared[uri] = connect(settings)
            atexit.register(_shared[uri].close)
        return _shared[uri]


_lock = threading.Lock()
_shared: dict[str, MongoClient[Document]] = {}


def _login(settings: MongoSettings) -> dict[str, Any]:
    """Return the options that say whom to trust and who we are.

    Raises ConfigurationError for an unreadable file, and for a mechanism that needs what is not installed.
    """
    files = {"tlsCAFile": settings.mongo_tls_ca_file, "tlsCertificateKeyFile": settings.mongo_tls_certificate_file}
    options: dict[str, Any] = {option: path for option, path in files.items() if path is not None}
    if options:
        options["tls"] = True
        try:
            context = ssl.create_default_context(cafile=settings.mongo_tls_ca_file)
            if settings.mongo_tls_certificate_file is not None:
                context.load_cert_chain(settings.mongo_tls_certificate_file)
        except OSError as error:  # ssl's own errors are of this kind
            name = "VFEXPORT_MONGO_TLS_CA_FILE or VFEXPORT_MONGO_TLS_CERTIFICATE_FILE"
            raise ConfigurationError(f"{name} cannot be used: {type(error).__name__}", payload=name) from None
    if settings.mongo_auth_mechanism == _AWS and find_spec(_AWS_PACKAGE) is None:
        name = "VFEXPORT_MONGO_AUTH_MECHANISM"
        raise ConfigurationError(
            f"{name}: {_AWS} needs the package {_AWS_PACKAGE}, which is not installed here", payload=name
        )
    if settings.mongo_auth_mechanism is not None:
        options |= {"authMechanism": settings.mongo_auth_mechanism, "authSource": "$external"}
    return options


@contextmanager
def opened(settings: MongoSettings) -> Generator[Database[Document]]:
    """Open the service's database for a block and close its client afterwards."""
    client = connect(settings)
    try:
        yield client[settings.mongo_database]
    finally:
        client.close()


def open_deciding(database: Database[Document], name: str) -> Collection[Document]:
    """Open a source collection for reads that decide something: what a campaign is, where a user is.

    Whatever the client's address says they see the primary's newest data. A secondary that lags behind would hide what
    has just come, and so would the read concern "majority" for as long as it is not on most members.
    """
    return database.get_collection(
        name,
        codec_options=SOUND_CODEC,
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("local"),
    )


def open_scanned(database: Database[Document], settings: MongoSettings) -> Database[Document]:
    """Return the database with the read preference of what is read in bulk: scans, their counts and look-ups."""
    mode = read_pref_mode_from_name(settings.scan_read_preference)
    tags = [settings.scan_tags] if settings.scan_tags else None
    staleness = settings.scan_max_staleness_seconds or -1
    return database.with_options(read_preference=make_read_preference(mode, tags, staleness))


@contextmanager
def reading(collection: str, operation: str = "read") -> Generator[None]:
    """Turn whatever the driver raises inside the block into SourceUnavailable, naming `operation` and `collection`."""
    try:
        yield
    except PyMongoError as error:
        raise unavailable(collection, error, operation) from error


def is_dns_failure(error: Exception) -> bool:
    """Return whether the name in a mongodb+srv address could not be resolved: the driver takes that for a wrong one."""
    return isinstance(error, MongoConfigurationError) and isinstance(error.__cause__, dns.exception.DNSException)


def unavailable(collection: str, error: Exception, operation: str) -> SourceUnavailable:
    """Report that MongoDB failed: at which operation, on which collection and why. Its host is for the log alone."""
    failure = SourceUnavailable(
        f"MongoDB failed on collection {collection} ({operation}): {cause(error)}", payload=collection
    )
    if isinstance(error, ConnectionFailure):
        _log.warning("%s: %s", failure.message, str(error)[:_SHOWN_CHARACTERS])  # driver messages can be pages long
    return failure


def cause(error: Exception) -> str:
    """Describe why MongoDB failed, in words that callers may read.

    What the server says about a command may quote the values that it stumbled over, so that is told by its code; what
    is said about a connection names hosts, so that is told by its class.
    """
    name = type(error).__name__
    if is_dns_failure(error):
        return f"its address could not be resolved ({type(error.__cause__).__name__})"
    codes = error_codes(error)
    if not isinstance(error, OperationFailure) or not codes:
        return name
    code_name = (error.details or {}).get("codeName")
    return f"{name}: code {', '.join(map(str, sorted(codes)))}" + (f" ({code_name})" if code_name else "")


def error_codes(error: Exception) -> frozenset[int]:
    """Return the server's codes for what failed: of a bulk write, whose own only says that it is one, its writes'."""
    if not isinstance(error, OperationFailure):
        return frozenset()
    details = error.details if isinstance(error, BulkWriteError) else {}
    problems = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
    codes = (problem.get("code") for problem in problems) if problems else (error.code,)
    return frozenset(code for code in codes if code is not None)
