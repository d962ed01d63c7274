"""The configured buckets: the stores that exports go to, and the S3 clients that reach them.

A client is made when it is first needed and kept. It does not retry by itself (`S3Bucket.call` does): retries at
two levels would multiply, those of the client cannot be ended by an abort, and they hide that an earlier attempt may
have had its effect.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Self

from vfexport_core.errors import ConfigurationError
from vfexport_core.settings import PREFIX
from vfexport_core.storage.s3.bucket import Abilities, RetryPolicy, S3Bucket, encryption_params
from vfexport_core.storage.s3.clients import make_client, make_session
from vfexport_core.storage.s3.probing import BucketProbe
from vfexport_core.storage.s3.s3_store import S3Store
from vfexport_core.storage.s3.stall import StallClock

if TYPE_CHECKING:
    from botocore.session import Session

    from vfexport_core.settings import BucketSettings, Settings
    from vfexport_core.storage.object_store import ObjectStore

# The buckets of the specification, and the settings that configure them.
_SETTINGS = {"exportsS3": "exports", "scoringS3": "scoring", "vfScoringS3": "vf_scoring", "sfmcS3": "sfmc"}

# S3 answers the largest part or copy within this, or begins to (it sends white space while it works).
_READ_SECONDS = 60.0
_QUICK_SECONDS = 10.0
_QUICK = RetryPolicy(attempts=4, cap_seconds=2.0)
_QUICK_STALL_SECONDS = 20.0
# Who asks whether a bucket answers wants to know soon. What cannot be taken away now the reaper takes away later, and
# the queue waits meanwhile. One time for both, so that one client serves both.
_SHORT_SECONDS = 3.0
_CLEANING_STALL_SECONDS = 8.0
_PROBE_ACL = "private"


class BucketClients:
    """Hands out stores by the names of 03-export-types (``exportsS3``, ...); safe for several threads.

    Every method raises ConfigurationError, naming the variable, for a bucket that is not (or wrongly) configured.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.buckets
        self._stall_seconds = settings.storage_stall_seconds
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._clients: dict[tuple[str, float], Any] = {}
        self._abilities: dict[str, Abilities] = {}

    @property
    def configured(self) -> list[str]:
        """The names of the buckets that have settings."""
        return [bucket for bucket, field in _SETTINGS.items() if getattr(self._settings, field) is not None]

    def store(self, bucket: str) -> ObjectStore:
        """Return where the files of a bucket of the catalog go, for one attempt of an export; no request is sent yet.

        It is given up (BucketHangs) when nothing that it is asked for has succeeded for `storage_stall_seconds`.
        """
        read_seconds = min(_READ_SECONDS, self._stall_seconds / 2)  # so that two silences are enough to know
        writing = self._bucket(bucket, read_seconds, RetryPolicy(), stall_seconds=self._stall_seconds)
        cleaning = self._bucket(bucket, _SHORT_SECONDS, RetryPolicy(), stall_seconds=_CLEANING_STALL_SECONDS)
        return S3Store(writing, cleaning)

    def store_named(self, name: str, *, likely: str) -> ObjectStore:
        """Return the bucket that has this name in S3 (or in the catalog); that of the catalog's `likely` comes first.

        It is retried for a short time only: somebody waits. Raises ConfigurationError when none has the name.
        """
        for bucket in sorted(_SETTINGS, key=lambda bucket: bucket != likely):
            field = getattr(self._settings, _SETTINGS[bucket])
            if field is not None and name in {field.name, bucket}:
                quick = self._bucket(bucket, _QUICK_SECONDS, _QUICK, stall_seconds=_QUICK_STALL_SECONDS)
                return S3Store(quick, quick)
        raise ConfigurationError(f"bucket {name} is not among the configured ones", payload=name)

    def bucket(self, bucket: str) -> S3Bucket:
        """Return the bucket as S3 knows it, for what only S3 can be asked."""
        return self._bucket(bucket, _READ_SECONDS, RetryPolicy())

    def impatient(self, bucket: str) -> S3Bucket:
        """Return the bucket for questions that are asked once, and whose answers are not waited for long."""
        return self._bucket(bucket, _SHORT_SECONDS, RetryPolicy(attempts=1))

    def check(self, bucket: str) -> None:
        """Ask once, and not long, whether the bucket is there; raises DeliveryFailed or DeliveryRefused."""
        self.impatient(bucket).call("head_bucket", {})

    def probe(self, bucket: str) -> None:
        """Put a small object and delete it, each once and for not long; raises DeliveryFailed or DeliveryRefused."""
        BucketProbe(self.impatient(bucket)).write([_PROBE_ACL])

    def sign_download(self, bucket: str, key: str, seconds: int, download_name: str | None = None) -> str:
        """Return a URL that downloads an object without credentials for `seconds`; see `ObjectStore.sign`."""
        return self.store(bucket).sign(key, seconds, download_name)

    def close(self) -> None:
        """Close all connections; a later use opens new ones."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, bucket: str) -> tuple[str, BucketSettings]:
        """Return the beginning of a bucket's variables, and its settings."""
        field = _SETTINGS.get(bucket)
        if field is None:
            raise ConfigurationError(f"there is no bucket {bucket}", payload=bucket)
        variables = f"{PREFIX}BUCKETS__{field.upper()}__"
        settings: BucketSettings | None = getattr(self._settings, field)
        if settings is None:
            name = f"{variables}NAME"
            raise ConfigurationError(f"{name} is not set, and bucket {bucket} is needed", payload=name)
        return variables, settings

    def _bucket(
        self, bucket: str, read_seconds: float, retry: RetryPolicy, *, stall_seconds: float = math.inf
    ) -> S3Bucket:
        variables, settings = self.find(bucket)
        with self._lock:
            client = self._clients.get((bucket, read_seconds))
            if client is None:
                client = self.make_client(settings, variables, read_seconds)
                self._clients[bucket, read_seconds] = client
            abilities = self._abilities.setdefault(bucket, Abilities())
        encryption = encryption_params(settings.sse_kms_key_id, settings.bucket_key)
        return S3Bucket(settings.name, client, retry, abilities, StallClock(stall_seconds), encryption)

    def make_client(self, settings: BucketSettings, variables: str, read_seconds: float) -> Any:
        """Make the client of one bucket (its `variables` begin so); an orchestrator may have another way to it."""
        self._session = self._session or make_session()
        return make_client(self._session, settings, variables, read_seconds=read_seconds)
