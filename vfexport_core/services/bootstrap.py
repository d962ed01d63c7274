"""What the use cases work with, opened from the settings: the one place for the API, the command line and Dagster.

Nothing is connected, and nothing slow is imported, before it is needed: a process that only looks at the queue needs no
S3 client.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from vfexport_core.mongo.client import SCAN_SILENCE_MILLIS, connect
from vfexport_core.mongo.retry import CALLER_LIMITS, DEFAULT_LIMITS, WORKER_LIMITS
from vfexport_core.queue.audit import AuditLog
from vfexport_core.queue.models import AutoRetries
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import check_initialised, initialise
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.ccpa.deletion_attempt import DeletionTools
    from vfexport_core.ccpa.repository import DeletionRepository
    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.retry import RetryLimits
    from vfexport_core.queue.ended import EndedAttempts
    from vfexport_core.queue.outbox import Outbox
    from vfexport_core.settings import Settings
    from vfexport_core.storage.buckets import BucketClients


class Backend:
    """MongoDB, the queue in it, and the buckets; safe to share between threads. To be closed, or used in a block.

    `limits` say for how long operations on the service's own collections are retried, `caller_limits` for how long
    somebody waits who asks for a campaign; `make_buckets` makes clients of another kind.
    What is given (`database`, `queue`, `buckets`) belongs to whoever made it, and is not closed here.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        limits: RetryLimits = DEFAULT_LIMITS,
        caller_limits: RetryLimits = CALLER_LIMITS,
        silence_millis: int = SCAN_SILENCE_MILLIS,
        database: Database[dict[str, Any]] | None = None,
        make_buckets: Callable[[Settings], BucketClients] | None = None,
        queue: ExportRepository | None = None,
        buckets: BucketClients | None = None,
    ) -> None:
        self.settings = settings
        self.limits = limits
        self._caller_limits = caller_limits
        self._silence_millis = silence_millis
        self._given_database = database
        self._make_buckets = make_buckets
        self._given_queue = queue
        self._given_buckets = buckets
        self._is_initialised = False

    @classmethod
    def of_worker(cls, settings: Settings, **options: Any) -> Self:
        """Return one for whoever runs exports: it waits out an election."""
        return cls(settings, limits=WORKER_LIMITS, **options)

    @cached_property
    def database(self) -> Database[dict[str, Any]]:
        """The service's database; raises ConfigurationError when its address cannot be understood."""
        if self._given_database is not None:
            return self._given_database
        return connect(self.settings, silence_millis=self._silence_millis)[self.settings.mongo_database]

    def check_initialised(self, limits: RetryLimits | None = None) -> None:
        """Look once, within `limits` if others are given, whether the database is set up.

        Raises NotInitialized until it is, SourceUnavailable.
        """
        if not self._is_initialised:
            check_initialised(self.database, limits or self.limits)
            self._is_initialised = True

    def initialise(self) -> None:
        """Set the database up (``initialise``); raises InitialisationFailed, SourceUnavailable."""
        initialise(self.database, self.limits)

    def campaign(self, campaign_id: str) -> Document:
        """Read a campaign for somebody who waits for the answer; raises CampaignNotFound, SourceUnavailable."""
        return find_campaign(self.database, campaign_id, limits=self._caller_limits)

    @cached_property
    def audit(self) -> AuditLog:
        """Who asked for what."""
        return AuditLog(self.database, self.limits, days=self.settings.audit_days)

    @cached_property
    def queue(self) -> ExportRepository:
        """The exports, with the lease that is set."""
        return self._given_queue or self.queue_within(self.limits)

    def queue_within(self, limits: RetryLimits) -> ExportRepository:
        """Return the exports for somebody who waits for a shorter or a longer time."""
        settings = self.settings
        return ExportRepository(
            self.database,
            limits,
            lease_seconds=settings.lease_seconds,
            retries=AutoRetries(settings.auto_retries, settings.auto_retry_seconds),
            guard=self.check_initialised,
        )

    @cached_property
    def buckets(self) -> BucketClients:
        """The buckets by their names in the catalog; one without settings raises ConfigurationError when it is used."""
        if self._given_buckets is not None:
            return self._given_buckets
        from vfexport_core.storage.buckets import BucketClients  # noqa: PLC0415 slow to load, and seldom needed

        return (self._make_buckets or BucketClients)(self.settings)

    @cached_property
    def outbox(self) -> Outbox:
        """The notifications that are to be sent."""
        from vfexport_core.queue.outbox import Outbox  # noqa: PLC0415 seldom needed

        return Outbox(self.database, self.limits)

    @cached_property
    def ended(self) -> EndedAttempts:
        """The attempts that ended, for whoever tells of them."""
        from vfexport_core.queue.ended import EndedAttempts  # noqa: PLC0415 as above

        return EndedAttempts(self.database, self.limits)

    @cached_property
    def deletions(self) -> DeletionRepository:
        """The records of deletions of users."""
        from vfexport_core.ccpa.repository import DeletionRepository  # noqa: PLC0415 seldom needed

        return DeletionRepository(self.database, self.limits)

    @property
    def deletion_tools(self) -> DeletionTools:
        """What deletions of users are made with."""
        from vfexport_core.ccpa.deletion_attempt import DeletionTools  # noqa: PLC0415 seldom needed
        from vfexport_core.ccpa.file_index import FileIndex  # noqa: PLC0415 as above

        return DeletionTools(
            settings=self.settings,
            database=self.database,
            queue=self.queue,
            buckets=self.buckets,
            deletions=self.deletions,
            file_index=FileIndex(self.database, self.limits),
        )

    def close(self) -> None:
        """Close what was opened; harmless to repeat."""
        opened = vars(self)
        if "buckets" in opened and self._given_buckets is None:
            self.buckets.close()
        if "database" in opened and self._given_database is None:
            self.database.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
