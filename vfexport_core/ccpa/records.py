"""What is known about a deletion, as frozen values; times are aware, by MongoDB's clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from vfexport_core.errors import VfexportError
    from vfexport_core.mongo.document import Document


_KEY_BYTES = 8


class DeletionStatus(StrEnum):
    OPEN = "OPEN"
    COMPLETE = "COMPLETE"


class ObjectName(NamedTuple):
    """One file: the bucket's name in S3, and its key there."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What kept a try from completing; no part of it says whose data it is about."""

    code: str
    message: str
    bucket: str | None = None
    key: str | None = None

    @classmethod
    def of(cls, error: VfexportError, *, bucket: str | None = None, key: str | None = None) -> Problem:
        return cls(error.code, error.message, bucket, key)


@dataclass(frozen=True, slots=True)
class Search:
    """How far a search through all campaigns has come: those up to `after` were looked at, in the order of their ids.

    The user is in the campaigns `found` of these.
    """

    after: str
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """One record of `ccpaDeletions`.

    `campaigns` is None until they were found; `search` is what an earlier try to find them came to. `effective` is a
    moment at which the record was there for all to see: an export that was claimed later has seen it, and has no row of
    the user.

    `requests` counts those who asked for it (None: the record is older than that). The last try `covers` the first so
    many of them, and so many are `fulfilled`: nothing that was there when they asked is left. `people` are the keys by
    which the index of the files knows the user.
    """

    id: str
    user_hash: str
    key_check: str
    status: DeletionStatus
    requested: datetime
    effective: datetime | None
    tried: datetime | None
    tries: int
    requests: int | None
    covers: int | None
    fulfilled: int
    campaigns: tuple[str, ...] | None
    search: Search | None
    deleted_exports: int
    deleted_files: int
    noted_exports: frozenset[str]
    noted_files: frozenset[ObjectName]
    notes: int | None
    people: Mapping[str, frozenset[int]]
    lease_until: datetime | None

    @property
    def is_complete(self) -> bool:
        return self.status is DeletionStatus.COMPLETE

    @classmethod
    def from_document(cls, document: Document) -> Deletion:
        date, search = document["date"], document.get("search")
        return cls(
            id=str(document["_id"]),
            user_hash=document["userHash"],
            key_check=document["keyCheck"],
            status=DeletionStatus(document["status"]),
            requested=date["requested"],
            effective=date.get("effective"),
            tried=date.get("tried"),
            tries=document["tries"],
            requests=document.get("requests"),
            covers=document.get("covers"),
            fulfilled=document.get("fulfilled", 0),
            campaigns=tuple(document["campaigns"]) if "campaigns" in document else None,
            search=Search(search["after"], tuple(search["found"])) if search else None,
            deleted_exports=document["deletedCount"]["exports"],
            deleted_files=document["deletedCount"]["files"],
            noted_exports=frozenset(map(str, document["exports"])),
            noted_files=frozenset(ObjectName(name["bucket"], name["key"]) for name in document["keys"]),
            notes=document.get("notes"),
            people=people_from(document.get("people", ())),
            lease_until=document.get("leaseUntil"),
        )


@dataclass(frozen=True, slots=True)
class Respected:
    """A deletion as an export sees it: of whom it must have no row.

    `search` names the search for the user that its last try was for; `is_found` says whether that has come to its end.
    """

    record_id: str
    search: int
    is_found: bool
    user_hash: str
    key_check: str
    people: Mapping[str, frozenset[int]]

    @classmethod
    def from_document(cls, document: Document) -> Respected:
        return cls(
            record_id=str(document["_id"]),
            search=document.get("covers", 0),
            is_found="campaigns" in document,
            user_hash=document["userHash"],
            key_check=document["keyCheck"],
            people=people_from(document.get("people", ())),
        )


def people_from(entries: Iterable[Document]) -> dict[str, frozenset[int]]:
    """Return the keys that a record has of a user, by their key check."""
    return {entry["keyCheck"]: frozenset(int.from_bytes(key, "big") for key in entry["keys"]) for entry in entries}


def people_document(people: Mapping[str, frozenset[int]]) -> list[Document]:
    """Return them as a record keeps them."""
    return [
        {"keyCheck": check, "keys": [key.to_bytes(_KEY_BYTES, "big") for key in sorted(keys)]}
        for check, keys in people.items()
    ]
