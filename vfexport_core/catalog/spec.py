"""The vocabulary in which an export type is declared.

A declaration says where rows come from (`Scan`, `Lookup`), what stands in each column (`Column` with an `Expression`
over the documents of the row) and what becomes of the file (bucket, ACL, shape). Nothing here reads or writes: the
MongoDB projection, the Arrow schema, the CSV header, the Dagster job, the API's validation and the data dictionary are
all derived from these declarations.

The letters of 03-export-types name the documents of a row: see `Root`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class ExportType(StrEnum):
    """The types of 03-export-types, by their name on the wire."""

    ENTRIES = "entries"
    SCORING = "scoring"


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


class Root(StrEnum):
    """The documents that a row is made from."""

    ENTRY = "E"
    USER = "U"
    MARKET = "M"
    CAMPAIGN = "C"


class Kind(StrEnum):
    """The BSON type that a field usually has: a hint for fast decoding, never a condition (02: data is dirty)."""

    TEXT = "text"
    DATE = "date"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT_LIST = "text list"
    OBJECT_ID = "object id"


@dataclass(frozen=True, slots=True)
class Field:
    """One value of one document, by its path in the collection."""

    root: Root
    path: tuple[str, ...]
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True)
class FirstOf:
    """``a | b``: the first that is neither missing, null nor an empty string."""

    options: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """The elements of an array, joined with `separator` instead of the cell rules' ``;``."""

    field: Field
    separator: str


@dataclass(frozen=True, slots=True)
class FalseIfMissing:
    """A preference: ``false`` when the field is missing or null."""

    field: Field


@dataclass(frozen=True, slots=True)
class ShowLabel:
    """The show as fans choose it: ``7/04 - Austin, TX``, from the row's market."""


Expression: TypeAlias = Field | FirstOf | Joined | FalseIfMissing | ShowLabel


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its header and what stands in its cells."""

    header: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class PreferenceColumns:
    """Stands for one column per preference of the campaign, in their order: ``#{type}.{id}``."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The collection that rows come from: one campaign's documents, by ``_id`` ascending."""

    root: Root


@dataclass(frozen=True, slots=True)
class Lookup:
    """A document that belongs to the scanned one: found by the text of `key`, fetched by the batch."""

    root: Root
    key: Field


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
    extension: str = "csv"
    per_market: bool = False
    """One more row per additional market of the fan when the request says includeAllMarkets."""
    needs_markets: bool = True
    needs_date_key: bool = False
    preliminary_count: bool = True
    ccpa_deletes: bool = True
    machine_feed: bool = False
    """Read by machines although it lies in exportsS3: its cells are never altered."""

    @property
    def slug(self) -> str:
        """The type in snake case, as Dagster wants names: ``code_waves``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.type).lower()

    @property
    def job_name(self) -> str:
        return f"{self.slug}_export"

    @property
    def for_people(self) -> bool:
        """Whether people open the file in a spreadsheet, so that the formula guard applies."""
        return self.bucket is Bucket.EXPORTS and not self.machine_feed
