"""What the queue knows about an export, as frozen values; the documents themselves are in the specification.

Identifiers are strings (24 hexadecimal digits for exports and campaigns); times are aware, in UTC, to the millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vfexport_core.mongo.document import storable

if TYPE_CHECKING:
    from vfexport_core.mongo.document import Document

Source = Literal["api", "cli", "dagster"]
"""The way in by which somebody came."""

KEPT_ATTEMPTS = 50
"""So many of the latest attempts a document keeps."""
MOST_ATTEMPTS = 200
"""No attempt is started of an export that keeps so many: beside the latest, those whose files are, or may be, on S3."""


@dataclass(frozen=True, slots=True)
class AutoRetries:
    """How often in a row an attempt that a passing fault ended is followed by the next one without anybody's asking.

    Not before `first_seconds` are over, four times as long after each more, `LONGEST_PAUSE_SECONDS` at most.
    """

    most: int = 0
    first_seconds: float = 15.0

    LONGEST_PAUSE_SECONDS: ClassVar[float] = 900.0


NO_RETRIES = AutoRetries()


class ExportStatus(StrEnum):
    PENDING = "PENDING"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"


ACTIVE = frozenset({ExportStatus.PENDING, ExportStatus.TRIGGERED})
FINAL = frozenset(ExportStatus) - ACTIVE
RETRYABLE = FINAL - {ExportStatus.FINISHED}


class FileProblem(StrEnum):
    """What was found of a file that an export had delivered."""

    MISSING = "missing"
    ALTERED = "altered"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExport:
    """A request that passed every check: `campaign_id` exists, `export_type` is registered, `date_key` fits it."""

    campaign_id: str
    campaign_name: str
    export_type: str
    date_key: str | None = None
    include_all_markets: bool = False
    requester_user_id: str
    correlation_id: str
    source: Source
    id: str | None = None

    def to_document(self) -> Document:
        """Return the PENDING document of attempt 1, without ``_id`` and ``date``: those come with the insertion."""
        document: Document = {
            # One spelling per campaign: otherwise two requests could differ in case only, and L3 would not see it.
            "campaignId": self.campaign_id.lower(),
            "campaignName": storable(self.campaign_name),
            "exportType": str(self.export_type),
            "status": ExportStatus.PENDING.value,
            "includeAllMarkets": self.include_all_markets,
            "requesterUserId": storable(self.requester_user_id),
            "correlationId": self.correlation_id,
            "source": self.source,
            "attempt": 1,
            "attempts": [],
        }
        if self.date_key is not None:
            document["dateKey"] = self.date_key
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDates:
    created: datetime
    triggered: datetime | None = None
    finished: datetime | None = None
    failed: datetime | None = None
    expired: datetime | None = None
    canceled: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of an export. `keys` were noted before anything was published: an object under one of them may exist."""

    attempt: int
    status: ExportStatus
    run_id: str | None = None
    triggered: datetime | None = None
    ended: datetime | None = None
    error: Document | None = None
    bucket: str | None = None
    keys: tuple[str, ...] = ()
    cleaned: bool = False
    """It is certain that nothing of this lost attempt is left on S3."""
    drained: bool = False
    """Its worker has said that no request of this lost attempt is under way any more."""

    @property
    def is_lost(self) -> bool:
        """Whether it ended without a file."""
        return self.status in RETRYABLE

    @classmethod
    def from_document(cls, document: Document) -> Attempt:
        return cls(
            attempt=document["attempt"],
            status=ExportStatus(document["status"]),
            run_id=document.get("runId"),
            triggered=_utc(document.get("triggered")),
            ended=_utc(document.get("ended")),
            error=document.get("error"),
            bucket=document.get("bucket"),
            keys=tuple(document.get("keys", ())),
            cleaned=document.get("cleaned", False),
            drained=document.get("settled", False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: documents read, rows and bytes written; `updated` is when its worker was last heard of."""

    read: int
    rows: int
    bytes: int
    updated: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The fence (L6): every write of a run is conditional on the export being TRIGGERED by this run and attempt."""

    export_id: str
    attempt: int
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a run published: `bucket` is its name in S3, `sha256` (hexadecimal) runs parallel to `keys`.

    `meta` holds figures only (numbers, booleans, documents of them): text could carry a fan's data into the queue.
    """

    bucket: str
    keys: tuple[str, ...]
    rows: int
    bytes: int
    sha256: tuple[str, ...]
    meta: Document = field(default_factory=dict[str, Any])
    row_counts: tuple[int, ...] = ()
    """The rows of each file, parallel to `keys`; told where the files are, not kept with the export."""

    def to_fields(self) -> Document:
        """Return its fields: ``key`` and one digest for one file, ``keys`` and a list for any other number."""
        if len(self.keys) != len(self.sha256):
            raise ValueError(f"{len(self.keys)} keys but {len(self.sha256)} digests")
        files: Document = {"keys": list(self.keys), "sha256": list(self.sha256)}
        if len(self.keys) == 1:
            files = {"key": self.keys[0], "sha256": self.sha256[0]}
        return {"bucket": self.bucket, "count": self.rows, "bytes": self.bytes, "meta": self.meta, **files}


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export document. `count` is preliminary while TRIGGERED and exact when FINISHED; `sha256` is by key."""

    id: str
    campaign_id: str
    campaign_name: str
    export_type: str
    status: ExportStatus
    requester_user_id: str
    correlation_id: str
    source: Source
    date: ExportDates
    attempt: int
    attempts: tuple[Attempt, ...] = ()
    """The latest `KEPT_ATTEMPTS`, and earlier ones under whose keys there may be an object; `attempt` counts all."""
    date_key: str | None = None
    include_all_markets: bool = False
    run_id: str | None = None
    claim_id: str | None = None
    lease_until: datetime | None = None
    """Until when the run need not be heard of; by MongoDB's clock, like every date here."""
    cancel_requested: datetime | None = None
    retry_at: datetime | None = None
    """Before then nobody claims a PENDING export whose last attempt a passing fault has ended, unless asked to."""
    bucket: str | None = None
    keys: tuple[str, ...] = ()
    count: int | None = None
    progress: Progress | None = None
    bytes: int | None = None
    sha256: dict[str, str] = field(default_factory=dict[str, str])
    meta: Document | None = None
    error: Document | None = None
    file_problem: FileProblem | None = None
    """What is wrong with one of the files of a FINISHED export, as far as somebody has looked."""

    @property
    def position(self) -> tuple[datetime, str]:
        """Where this export is in the order of the queue; `ExportRepository.list` goes on after such a position."""
        return self.date.created, self.id

    @property
    def seconds(self) -> float | None:
        """How long the attempt took that FINISHED it, by MongoDB's clock."""
        if self.date.triggered is None or self.date.finished is None:
            return None
        return (self.date.finished - self.date.triggered).total_seconds()

    @property
    def rows_per_second(self) -> float:
        """The rows of a FINISHED export by the time that it took, whole: the one figure for it."""
        return round((self.count or 0) / self.seconds, 1) if self.seconds else 0.0

    @property
    def retry_reason(self) -> str:
        """What is told of a PENDING export that is to be retried later: of which attempt, and when."""
        last = self.attempts[-1] if self.attempts else None
        code = f" ({last.error['code']})" if last is not None and last.error is not None else ""
        return (
            f"attempt {self.attempt - 1} FAILED{code}; the next one begins after {self.retry_at:%Y-%m-%d %H:%M:%S} UTC"
        )

    @property
    def has_room(self) -> bool:
        """Whether its document can hold one more attempt."""
        return len(self.attempts) < MOST_ATTEMPTS

    def was_run_by(self, run_id: str) -> bool:
        """Return whether one of its attempts was, or is, this run's."""
        return any(attempt.run_id == run_id for attempt in self.attempts)

    @classmethod
    def from_document(cls, document: Document) -> Export:
        """Read a stored document; raises KeyError or ValueError for one that the validator would not let in."""
        keys = tuple(document["keys"]) if "keys" in document else tuple(filter(None, [document.get("key")]))
        digests: str | list[str] = document.get("sha256", [])
        return cls(
            id=str(document["_id"]),
            campaign_id=document["campaignId"],
            campaign_name=document["campaignName"],
            export_type=document["exportType"],
            status=ExportStatus(document["status"]),
            requester_user_id=document["requesterUserId"],
            correlation_id=document["correlationId"],
            source=document["source"],
            date=_dates(document["date"]),
            attempt=document["attempt"],
            attempts=tuple(Attempt.from_document(item) for item in document["attempts"]),
            date_key=document.get("dateKey"),
            include_all_markets=document.get("includeAllMarkets", False),
            run_id=document.get("runId"),
            claim_id=document.get("claimId"),
            lease_until=_utc(document.get("leaseUntil")),
            cancel_requested=_utc(document.get("cancelRequested")),
            retry_at=_utc(document.get("retryAt")),
            bucket=document.get("bucket"),
            keys=keys,
            count=document.get("count"),
            progress=_progress(progress) if (progress := document.get("progress")) else None,
            bytes=document.get("bytes"),
            sha256=dict(zip(keys, [digests] if isinstance(digests, str) else digests, strict=True)),
            meta=document.get("meta"),
            error=document.get("error"),
            file_problem=FileProblem(document["fileProblem"]) if "fileProblem" in document else None,
        )


def _dates(document: Document) -> ExportDates:
    dates = {name: moment for name, value in document.items() if (moment := _utc(value)) is not None}
    return ExportDates(**dates)


def _progress(document: Document) -> Progress:
    return Progress(
        read=document["read"], rows=document["rows"], bytes=document["bytes"], updated=_utc(document.get("updated"))
    )


def iso(moment: datetime) -> str:
    """Return a moment as callers and receivers are told it: ``2026-01-31T09:30:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utc(value: datetime | None) -> datetime | None:
    """BSON dates are UTC; a client that decodes them without a time zone says so nowhere."""
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value
