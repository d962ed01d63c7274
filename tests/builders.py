"""Hand-made documents of 02 with plain, complete defaults; a test overrides what it is about.

Every builder takes top-level fields as keywords; a dict is merged into the default's dict, `ABSENT` takes a field out::

    make_entry(1, fields={"phone": 5125550100, "email": ABSENT}, origin=ABSENT)

Ids are small numbers in hex (`object_id`, `hex_id`), so that expected files can be written by hand.
"""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any

import bson
from bson import ObjectId

Document = dict[str, Any]
ABSENT = object()

CAMPAIGN = 1
MARKET = 1
DATE_KEY = "1700000000000"


def object_id(number: int) -> ObjectId:
    return ObjectId(hex_id(number))


def hex_id(number: int) -> str:
    return f"{number:024x}"


def merge(default: Document, overrides: Document) -> Document:
    merged = dict(default)
    for name, value in overrides.items():
        if value is ABSENT:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = merge(merged[name], value)
        else:
            merged[name] = value
    return merged


def make_campaign(number: int = CAMPAIGN, **overrides: Any) -> Document:
    default = {
        "_id": object_id(number),
        "name": "Summer Tour",
        "type": "standard",
        "artist": {"name": "The Band"},
        "promoterIds": ["p1"],
        "preferences": [{"id": "color", "type": "text", "is_optional": True, "label": {"en-us": "Color"}}],
        "ticketUrl": "https://tickets.example/summer",
    }
    return merge(default, overrides)


def make_market(number: int = MARKET, campaign: int = CAMPAIGN, **overrides: Any) -> Document:
    default = {
        "_id": object_id(number),
        "campaignId": hex_id(campaign),
        "name": f"Market {number}",
        "city": "Austin",
        "state": "TX",
        "countryCode": "US",
        "event": {"date": datetime(2024, 7, 4, 20, 0), "ids": ["EV1", "EV2"], "venue": "The Hall"},  # noqa: DTZ001 as pymongo decodes
    }
    return merge(default, overrides)


def make_user(number: int, **overrides: Any) -> Document:
    """Make a user; the keyword arguments `integrations` and `ticketmaster` (merged into it) override."""
    fan = {
        "id": f"tm{number}",
        "member_id": f"m{number}",
        "globalUserId": f"g{number}",
        "email": f"user{number}@example.com",
        "phone": f"+1512555{number:04}",
        "postalCode": "78701",
        "name": {"first": f"First{number}", "last": f"Last{number}"},
    }
    ticketmaster = merge(fan, overrides.pop("ticketmaster", {}))
    return merge({"_id": object_id(number), "integrations": {"ticketmaster": ticketmaster}}, overrides)


def make_entry(user: int, campaign: int = CAMPAIGN, **overrides: Any) -> Document:
    default = {
        "_id": {"campaign_id": hex_id(campaign), "user_id": hex_id(user)},
        "date": {
            "created": datetime(2024, 1, 2, 3, 4, 5, 678000),  # noqa: DTZ001 as pymongo decodes
            "phoneConfirmed": datetime(2024, 1, 2, 3, 5, 0),  # noqa: DTZ001 as pymongo decodes
        },
        "locale": "en-us",
        "fields": {
            "market": hex_id(MARKET),
            "email": f"fan{user}@example.com",
            "phone": f"512555{user:04}",
            "first_name": f"Fan{user}",
            "last_name": f"Family{user}",
            "color": "blue",
        },
        "origin": {
            "ip": {
                "address": "192.0.2.1",
                "postalCode": "78702",
                "latitude": 30.25,
                "longitude": -97.75,
                "countryCode": "US",
            }
        },
        "nudetect": {"score": 12.5, "scoreBand": "LOW"},
        "accountFanscore": 0.75,
    }
    return merge(default, overrides)


def make_scoring(number: int, user: int | None = None, campaign: int = CAMPAIGN, **overrides: Any) -> Document:
    """Make a selected fan's scoring record with one code; the user has the record's number unless given."""
    user = number if user is None else user
    default = {
        "_id": object_id(number),
        "campaignId": hex_id(campaign),
        "userId": hex_id(user),
        "memberId": f"m{user}",
        "selected": True,
        "score": 0.5,
        "priority": 1,
        "marketId": hex_id(MARKET),
        "locale": "en-us",
        "countryCode": "US",
        "codes": [{"id": f"CODE{number}", "marketId": hex_id(MARKET)}],
    }
    return merge(default, overrides)


def make_code(code: str, user: int | None = None, campaign: int = CAMPAIGN, **overrides: Any) -> Document:
    """Make a code of the wave `DATE_KEY`: assigned to `user`, or available when None."""
    default: Document = {
        "_id": code,
        "campaignId": hex_id(campaign),
        "marketId": hex_id(MARKET),
        "eventId": "EV1",
        "status": "AVAILABLE",
        "dateKey": DATE_KEY,
    }
    if user is not None:
        when = datetime(2024, 2, 3, 4, 5, 6)  # noqa: DTZ001 as pymongo decodes
        default |= {
            "status": "ASSIGNED",
            "assignment": {"userId": hex_id(user), "memberId": f"m{user}", "date": when},
        }
    return merge(default, overrides)


def make_sms_wave(number: int, members: list[Any], campaign: int = CAMPAIGN, **overrides: Any) -> Document:
    default = {
        "_id": object_id(number),
        "campaignId": hex_id(campaign),
        "dateKey": DATE_KEY,
        "status": "SCHEDULED",
        "memberIds": members,
    }
    return merge(default, overrides)


def make_promoter(promoter_id: str = "p1", **overrides: Any) -> Document:
    return merge({"_id": promoter_id, "name": "Promoter One"}, overrides)


def to_bson(document: Document) -> bytes:
    """Encode a document in which a byte that is not UTF-8 is a lone surrogate U+DC80..U+DCFF (surrogateescape).

    ``bson.encode`` refuses such strings; real collections hold them.
    """
    elements = b"".join(_element(name, value) for name, value in document.items())
    return struct.pack("<i", len(elements) + 5) + elements + b"\0"


def _element(name: str, value: object) -> bytes:
    raw_name = name.encode("utf-8", "surrogateescape") + b"\0"
    if type(value) is str:
        raw = value.encode("utf-8", "surrogateescape")
        return b"\x02" + raw_name + struct.pack("<i", len(raw) + 1) + raw + b"\0"
    if isinstance(value, dict):
        return b"\x03" + raw_name + to_bson(value)
    if isinstance(value, list):
        return b"\x04" + raw_name + to_bson({str(index): element for index, element in enumerate(value)})
    # One element of any other type, without the length and the end of the document around it.
    return bson.encode({name: value})[4:-1]
