"""The vocabulary in which an export type is declared.

A declaration says where rows come from (`Scan`, `Lookup`), which documents become which rows, what stands in each
column (catalog.expressions) and what becomes of the file (bucket, ACL, shape). Nothing here reads or writes: the
MongoDB projection, the Arrow schema, the CSV header, the Dagster job, the API's validation and the data dictionary are
all derived from these declarations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from vfexport_core.catalog.collections import Collection, Field
    from vfexport_core.catalog.expressions import Column, Expression, PreferenceColumns


class ExportType(StrEnum):
    """The types of 03-export-types, by their name on the wire."""

    ENTRIES = "entries"
    SCORING = "scoring"
    VERIFIED_ENTRIES = "verifiedEntries"
    CODES = "codes"
    CODE_ASSIGNMENTS = "codeAssignments"
    CODE_WAVES = "codeWaves"
    ARTIST_OPT_IN = "artistOptIn"
    ARTIST_SMS_OPT_IN = "artistSmsOptIn"
    LIVENATION_OPT_IN = "livenationOptIn"
    PROMOTER_EMAIL_OPT_IN = "promoterEmailOptIn"
    FANLIST = "fanlist"
    WAITLIST = "waitlist"
    REMINDER_EMAIL = "reminderEmail"
    REMINDER_EMAIL_SAMPLE = "reminderEmailSample"
    AUTO_REMINDER_EMAIL = "autoReminderEmail"


class Bucket(StrEnum):
    """The buckets, by their name in the specification; which bucket that is in S3 is a setting."""

    EXPORTS = "exportsS3"
    SCORING = "scoringS3"
    VF_SCORING = "vfScoringS3"
    SFMC = "sfmcS3"


class Acl(StrEnum):
    """S3's canned ACLs in use; given with every object."""

    PRIVATE = "private"
    BUCKET_OWNER_FULL_CONTROL = "bucket-owner-full-control"


@dataclass(frozen=True, slots=True)
class IsTrue:
    """The field is exactly boolean true."""

    field: Field


@dataclass(frozen=True, slots=True)
class IsNotTrue:
    """The field is anything but boolean true: false, null, missing, a text."""

    field: Field


@dataclass(frozen=True, slots=True)
class IsOneOf:
    """The field is one of these strings."""

    field: Field
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IsDateKey:
    """The field is the request's dateKey, written as text or as a number."""

    field: Field


Condition: TypeAlias = IsTrue | IsNotTrue | IsOneOf | IsDateKey


@dataclass(frozen=True, slots=True)
class Scan:
    """The collection that rows come from: one campaign's documents that meet `where`, by ``_id`` ascending."""

    collection: Collection
    where: Condition | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a collection that no rows come from."""
        _ = self.collection.scan


@dataclass(frozen=True, slots=True)
class Lookup:
    """A document that belongs to the scanned one: found by the text of `key`, fetched by the batch.

    Only documents that meet `where` are found; with `required`, a scanned document without one has no row.
    """

    collection: Collection
    key: Field
    where: Condition | None = None
    required: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a collection whose documents are not looked up."""
        _ = self.collection.lookup


class Expansion(StrEnum):
    """Which rows a document becomes when it is not just one."""

    MARKETS_IF_ASKED = "own market, then the additional ones when the request says includeAllMarkets"
    HELD_CODES = "one per market for which a code is held, with an email; the others are counted as skipped"
    PROMOTERS = "one per promoter of the campaign that the fan opted in to"


class Sample(Enum):
    """Which rows are kept when not all are."""

    FIRST_PER_LOCALE_AND_MARKET = "the first rows per locale and market"


class GroupBy(Enum):
    """What the rows of one file have in common."""

    PROMOTER = "promoter"
    REGION_AND_LOCALE = "region and locale"
    """In parts of at most VFEXPORT_MAX_ROWS_PER_FILE rows."""


class Container(Enum):
    """What the files of an export are put into."""

    SINGLE_FILE = "one file"
    ZIP = "one archive"
    OBJECTS = "an object for each file"


class Format(StrEnum):
    """How a file is written, by the extension of its name."""

    CSV = "csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How rows become files: which rows, grouped by what, in what container. By default all rows are in one file."""

    sample: Sample | None = None
    group_by: GroupBy | None = None
    container: Container = Container.SINGLE_FILE

    def __post_init__(self) -> None:
        """Raise ValueError for parts that do not go together."""
        if (self.group_by is None) != (self.container is Container.SINGLE_FILE):
            raise ValueError("rows in groups need a container of several files, and others need none")
        if self.container is Container.OBJECTS and self.group_by is not GroupBy.REGION_AND_LOCALE:
            raise ValueError("only files by region and locale have keys of their own")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSpec:
    """One export type, whole."""

    type: str
    summary: str
    scan: Scan
    lookups: tuple[Lookup, ...] = ()
    columns: tuple[Column | PreferenceColumns, ...]
    bucket: Bucket
    acl: Acl = Acl.PRIVATE
    market: Field | None = None
    """Names the row's market (M)."""
    required: Expression | None = None
    """A document for which this is blank has no row."""
    not_in_scheduled_wave: Field | None = None
    """A document whose member is in a SCHEDULED SMS wave of the campaign has no row."""
    expansion: Expansion | None = None
    shape: Shape = Shape()
    format: Format = Format.CSV
    needs_markets: bool = True
    needs_date_key: bool = False
    preliminary_count: bool = True
    ccpa_deletes: bool = True
    machine_feed: bool = False
    """Read by machines although it lies in exportsS3: its cells are never altered."""

    def __post_init__(self) -> None:
        """Raise ValueError when the shape needs rows of another kind."""
        if self.shape.group_by is GroupBy.PROMOTER and self.expansion is not Expansion.PROMOTERS:
            raise ValueError(f"{self.type}: files by promoter need a row per promoter")
        if self.shape.sample is not None and self.expansion is not Expansion.HELD_CODES:
            raise ValueError(f"{self.type}: a sample per locale and market needs a row per code held")

    @property
    def slug(self) -> str:
        """The type in snake case, as Dagster wants names: ``code_waves``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.type).lower()

    @property
    def extension(self) -> str:
        return "zip" if self.shape.container is Container.ZIP else self.format.value

    @property
    def has_additional_markets(self) -> bool:
        """Whether a request may ask for a row per additional market of a fan."""
        return self.expansion is Expansion.MARKETS_IF_ASKED

    @property
    def job_name(self) -> str:
        return f"{self.slug}_export"

    @property
    def for_people(self) -> bool:
        """Whether people open the file in a spreadsheet, so that the formula guard applies."""
        return self.bucket is Bucket.EXPORTS and not self.machine_feed
