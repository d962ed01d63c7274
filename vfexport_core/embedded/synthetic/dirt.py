"""What is wrong with real data: one row per kind, with its name and what it does to a clean document.

Each kind is dealt to the same share of its collection's documents, at most one to a document. Two kinds of 02 are
missing because the embedded server refuses such documents: bytes that are not UTF-8, and dates beyond the years 1-9999.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson import Decimal128, Int64, ObjectId, Regex

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from vfexport_core.mongo.document import Document

    Change = Callable[[Document], None]

UNKNOWN_ID = "0123456789abcdef01234567"
_MISSING = object()


def put(path: str, value: Any) -> Change:
    """Set the field at a dotted path, making the documents on the way."""
    *parents, name = path.split(".")

    def change(document: Document) -> None:
        for parent in parents:
            document = document.setdefault(parent, {})
        if value is _MISSING:
            document.pop(name, None)
        else:
            document[name] = value

    return change


def drop(path: str) -> Change:
    """Remove the field at a dotted path."""
    return put(path, _MISSING)


USER_DIRT: dict[str, Change | None] = {
    "user does not exist": None,  # the document is left out
    "no integrations": drop("integrations"),
    "integrations.ticketmaster is null": put("integrations.ticketmaster", None),
    "integrations.ticketmaster is text": put("integrations.ticketmaster", "unlinked"),
    "name is null": put("integrations.ticketmaster.name", None),
    "name is text": put("integrations.ticketmaster.name", "Ann Other"),
    "name is missing": drop("integrations.ticketmaster.name"),
    "first name is null": put("integrations.ticketmaster.name.first", None),
    "first name is a number": put("integrations.ticketmaster.name.first", 42),
    "last name is an array": put("integrations.ticketmaster.name.last", ["van", "der", "Berg"]),
    "id is a Decimal128": put("integrations.ticketmaster.id", Decimal128("1234567890.10")),
    "member_id is an int64": put("integrations.ticketmaster.member_id", Int64(9_007_199_254_740_993)),
    "member_id is a double": put("integrations.ticketmaster.member_id", 1.5e10),
    "globalUserId is an ObjectId": put("integrations.ticketmaster.globalUserId", ObjectId(UNKNOWN_ID)),
    "email is null": put("integrations.ticketmaster.email", None),
    "email is missing": drop("integrations.ticketmaster.email"),
    "phone is an int64": put("integrations.ticketmaster.phone", Int64(15_550_100_199)),
    "postalCode is an int": put("integrations.ticketmaster.postalCode", 2134),
    "postalCode is a double": put("integrations.ticketmaster.postalCode", 78701.0),
}

ENTRY_DIRT: dict[str, Change] = {
    "date is missing": drop("date"),
    "created is null": put("date.created", None),
    "created is text": put("date.created", "2026-03-01T12:00:00Z"),
    "created is a number": put("date.created", Int64(1_772_366_400_123)),
    "created is in year 1": put("date.created", datetime(1, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)),
    "created is before 1970": put("date.created", datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
    "phoneConfirmed is a boolean": put("date.phoneConfirmed", True),
    "locale is a number": put("locale", 1033),
    "locale is null": put("locale", None),
    "fields is missing": drop("fields"),
    "fields is null": put("fields", None),
    "fields is text": put("fields", "lost"),
    "market is missing": drop("fields.market"),
    "market is unknown": put("fields.market", UNKNOWN_ID),
    "market is an ObjectId": lambda entry: put("fields.market", ObjectId(entry["fields"]["market"]))(entry),
    "additionalMarkets is text": put("fields.additionalMarkets", UNKNOWN_ID),
    "additionalMarkets is null": put("fields.additionalMarkets", None),
    "additionalMarkets has unknown ids": lambda entry: put(
        "fields.additionalMarkets",
        [UNKNOWN_ID, None, 7, entry["fields"]["market"], ObjectId(entry["fields"]["market"])],
    )(entry),
    "email is null": put("fields.email", None),
    "email is a document": put("fields.email", {"value": "fan@example.com", "valid": True, "checked": None}),
    "email is an array": put("fields.email", ["a@example.com", "b@example.com"]),
    "phone is an int64": put("fields.phone", Int64(15_550_100_123)),
    "phone is a double": put("fields.phone", 15550100123.0),
    "phone is empty": put("fields.phone", ""),
    "first_name is a boolean": put("fields.first_name", False),
    "last_name is null": put("fields.last_name", None),
    "allowMarketing is text": put("fields.allowMarketing", "true"),
    "allowLiveNation is a number": put("fields.allowLiveNation", 1),
    "allowSms is null": put("fields.allowSms", None),
    "promoterOptIns is text": put("fields.promoterOptIns", UNKNOWN_ID),
    "promoterOptIns has ObjectIds": lambda entry: put(
        "fields.promoterOptIns", [ObjectId(UNKNOWN_ID), *map(ObjectId, entry["fields"].get("promoterOptIns", ()))]
    )(entry),
    "a preference is a document": put(
        "fields.pref_song", {"b": [1.0, None], "a": "é", "when": datetime(2026, 1, 1, tzinfo=UTC)}
    ),
    "a preference is binary": put("fields.pref_song", b"\x00\xff\x10"),
    "a preference is a pattern": put("fields.pref_song", Regex("^x", "i")),
    "origin is null": put("origin", None),
    "origin.ip is text": put("origin.ip", "192.0.2.1"),
    "address is a number": put("origin.ip.address", 3_221_225_985),
    "postalCode is an int": put("origin.ip.postalCode", 2134),
    "postalCode is a double": put("origin.ip.postalCode", 2134.0),
    "postalCode is a broken double": put("origin.ip.postalCode", 2134.5),
    "latitude is text": put("origin.ip.latitude", "30.2672"),
    "latitude is not a number": put("origin.ip.latitude", float("nan")),
    "longitude is a Decimal128": put("origin.ip.longitude", Decimal128("-97.7431")),
    "longitude is infinite": put("origin.ip.longitude", float("-inf")),
    "nudetect is null": put("nudetect", None),
    "score is a Decimal128": put("nudetect.score", Decimal128("0.10")),
    "score is text": put("nudetect.score", "high"),
    "scoreBand is a number": put("nudetect.scoreBand", 3),
    "accountFanscore is text": put("accountFanscore", "0,5"),
    "accountFanscore is small": put("accountFanscore", 1e-7),
    "fields that nobody knows": put("extra", {"deep": [{"er": 1}]}),
}

SCORING_DIRT: dict[str, Change] = {
    "memberId is an int64": put("memberId", Int64(9_007_199_254_740_993)),
    "memberId is missing": drop("memberId"),
    "userId is an ObjectId": lambda record: put("userId", ObjectId(record["userId"]))(record),
    "userId is unknown": put("userId", UNKNOWN_ID),
    "userId is missing": drop("userId"),
    "selected is text": put("selected", "true"),
    "selected is a number": put("selected", 1),
    "selected is missing": drop("selected"),
    "score is a Decimal128": put("score", Decimal128("12.50")),
    "score is text": put("score", "12.5"),
    "priority is a double": put("priority", 2.0),
    "marketId is unknown": put("marketId", UNKNOWN_ID),
    "marketId is an ObjectId": lambda record: put("marketId", ObjectId(record["marketId"]))(record),
    "locale is null": put("locale", None),
    "countryCode is lower case": put("countryCode", "gb"),
    "countryCode is empty": put("countryCode", ""),
    "codes is null": put("codes", None),
    "codes is text": put("codes", "VF0000000000"),
    "codes has odd elements": put("codes", [None, "VF0", {}, {"id": 5, "marketId": None}]),
}

CODE_DIRT: dict[str, Change] = {
    "marketId is unknown": put("marketId", UNKNOWN_ID),
    "eventId is an int": put("eventId", 17),
    "status is lower case": put("status", "assigned"),
    "status is missing": drop("status"),
    "assignment is null": put("assignment", None),
    "assigned user is unknown": put("assignment.userId", UNKNOWN_ID),
    "assigned date is text": put("assignment.date", "yesterday"),
    "assigned memberId is a number": put("assignment.memberId", Int64(10_000_000_001)),
    "dateKey is a number": put("dateKey", Int64(1_772_712_000_000)),
    "dateKey is null": put("dateKey", None),
}

KINDS = max(len(USER_DIRT), len(ENTRY_DIRT), len(SCORING_DIRT), len(CODE_DIRT))


class Soiler:
    """Deals the kinds of one table to documents, each with probability `share`."""

    def __init__(self, kinds: dict[str, Change] | dict[str, Change | None], share: float) -> None:
        self._changes = tuple(kinds.values())
        self._share = share
        self._total = share * len(self._changes)

    def soil(self, document: Document, random: Random) -> bool:
        """Perhaps change the document; False when it should be left out altogether."""
        draw = random.random()
        if draw >= self._total:
            return True
        change = self._changes[min(int(draw / self._share), len(self._changes) - 1)]
        if change is None:
            return False
        change(document)
        return True
