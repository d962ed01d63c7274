"""The source collections: all that the service knows of each, in one place; and a field of their documents.

A collection that rows come from has to say whose its documents are: a deletion of a user's data looks there. It cannot
be declared without (`ScanAccess`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, unique
from typing import TypeAlias

Path: TypeAlias = "tuple[str, ...]"
Index: TypeAlias = "tuple[str, ...]"

_BY_ID: Index = ("_id",)


class FieldType(StrEnum):
    """The BSON type that a field usually has: a hint for fast decoding, never a condition (02: data is dirty)."""

    TEXT = "text"
    DATE = "date"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT_LIST = "text list"
    OBJECT_ID = "object id"
    ANY = "any"
    """Documents and lists of documents: always decoded value by value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanAccess:
    """How one campaign's documents are read by ``_id``, and whose they are.

    `index` serves the query. `user` is the path to the user's id, `member` that to the member's id where there is one.
    """

    index: Index
    user: Path
    member: Path | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a path of no names."""
        if not self.user or self.member == ():
            raise ValueError("a collection that rows come from must say whose its documents are: user, and member")


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupAccess:
    """How documents are found by the id that another document refers to them by: `key` has it, `index` serves it."""

    index: Index
    key: Path
    key_type: FieldType = FieldType.TEXT
    per_campaign: bool = True
    """A campaign has documents of its own; otherwise `key` is the collection's ``_id`` and there is one for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSpec:
    """One collection: `letter` names its document of a row in expressions, and `document` says which one that is.

    Without `scan` no rows come from it, without `lookup` its documents are not looked up by the batch.
    """

    name: str
    letter: str
    document: str
    account: Path = ()
    """What expressions leave out at the beginning of a path: the part of the document that the letter stands for."""
    campaign_in_id: bool = False
    """``_id`` is {campaign_id, user_id}; otherwise ``campaignId`` and ``userId`` refer to campaign and user."""
    scan: ScanAccess | None = None
    lookup: LookupAccess | None = None


@unique
class Collection(Enum):
    """The collections whose documents a row is made from."""

    ENTRIES = CollectionSpec(
        name="entries",
        letter="E",
        document="the fan's entry, of `entries`",
        campaign_in_id=True,
        scan=ScanAccess(index=_BY_ID, user=("_id", "user_id")),
        lookup=LookupAccess(index=_BY_ID, key=("_id", "user_id")),
    )
    USERS = CollectionSpec(
        name="users",
        letter="U",
        document="the fan's account: `integrations.ticketmaster` of a document of `users`",
        account=("integrations", "ticketmaster"),
        lookup=LookupAccess(index=_BY_ID, key=("_id",), key_type=FieldType.OBJECT_ID, per_campaign=False),
    )
    MARKETS = CollectionSpec(name="markets", letter="M", document="the row's market, of `markets`")
    CAMPAIGNS = CollectionSpec(name="campaigns", letter="C", document="the campaign, of `campaigns`")
    SCORING = CollectionSpec(
        name="scoring",
        letter="S",
        document="the fan's scoring record, of `scoring`",
        scan=ScanAccess(index=("campaignId", "_id"), user=("userId",), member=("memberId",)),
        lookup=LookupAccess(index=("campaignId", "userId"), key=("userId",)),
    )
    CODES = CollectionSpec(
        name="codes",
        letter="K",
        document="the code, of `codes`",
        scan=ScanAccess(index=("campaignId", "_id"), user=("assignment", "userId"), member=("assignment", "memberId")),
    )
    HELD_CODES = CollectionSpec(
        name="scoring.codes",
        letter="H",
        document="the code that the scoring record holds for the row's market, one of `S.codes`",
    )
    """No collection of its own: {id, marketId}, one per market, in an array of the scoring record."""

    @property
    def spec(self) -> CollectionSpec:
        """What is known of it."""
        return self.value

    @property
    def scan(self) -> ScanAccess:
        """How its documents are scanned; raises ValueError when no rows come from it."""
        if self.spec.scan is None:
            raise ValueError(f"rows cannot come from {self.spec.name}: it does not say how a campaign is scanned")
        return self.spec.scan

    @property
    def lookup(self) -> LookupAccess:
        """How its documents are looked up; raises ValueError when they are not."""
        if self.spec.lookup is None:
            raise ValueError(f"documents of {self.spec.name} cannot be looked up: it does not say by what")
        return self.spec.lookup

    @property
    def key(self) -> Field:
        """The field by which its documents are looked up; raises ValueError when they are not."""
        return Field(self, self.lookup.key, self.lookup.key_type)

    @property
    def personal_fields(self) -> tuple[Field, ...]:
        """The user's id and, where there is one, the member's id; raises ValueError when no rows come from it."""
        scan = self.scan
        return tuple(Field(self, path) for path in (scan.user, scan.member) if path is not None)


@dataclass(frozen=True, slots=True)
class Field:
    """One value of one document, by its path in the collection."""

    collection: Collection
    path: tuple[str, ...]
    type: FieldType = FieldType.TEXT
