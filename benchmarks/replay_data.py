"""The synthetic campaign that the replay server answers from: deterministic from a seed, in the shape of 02-documents.

`DISTINCT` fans are made. A campaign of more entries repeats them in cycles, in which only the ids differ: memory stays
the same for a campaign of any size. The id of fan ``place`` of a cycle is ``ID_PREFIX + cycle + place`` (8, 2 and 2
bytes), so that ids ascend and an id says where its documents are. The warm-up campaign is the same, but small.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Decimal128, Int64, ObjectId

DISTINCT = 20_000
ID_PREFIX = bytes.fromhex("65a1b2c3d4e5f607")
CAMPAIGN_ID = ObjectId("64f0c0ffee00000000000001")
WARM_UP_ID = ObjectId("64f0c0ffee00000000000002")
WARM_UP_ENTRIES = 5_000
CYCLES = 0x10000

_UNKNOWN_USER_EVERY = 4_001  # prime to DISTINCT: no place where an entry has no user falls on a batch's border
_FIRST_NAMES = (
    *("Anna", "Ben", "Chloe", "David", "Emma", "Frank", "Grace", "Henry", "Isabel", "Jack", "Karen", "Liam", "Mia"),
    *("José", "Zoë", "Łukasz", "Søren", "François", "Иван", "Μαρία", "愛子", "Nguyễn", "Renée 🎸"),
)
_LAST_NAMES = (
    *("Smith", "Johnson", "Williams", "Brown", "Jones", "Miller", "Davis", "Garcia", "Wilson", "Anderson", "Taylor"),
    *("O'Brien", "Müller", "Öztürk", "Kowalczyk", "Петров", "山田", "van der Berg"),
)
_RARE_LAST_NAMES = ("Smith, Jr.", 'Sam "Ace" Jones', "Two\nLines", "=1+1", "-Dash", "@handle", "+Plus", "")
_LOCALES = ("en-us", "en-ca", "en-uk", "de-de", "es-mx", "fr-fr")
_CITIES = (("Austin", "TX"), ("Boston", "MA"), ("Montréal", "QC"), ("London", None), ("Berlin", None), ("Denver", "CO"))
_HEARD_FROM = ("radio", "a friend", "email, newsletter", "social media", 'the "big" poster')
_START = datetime(2024, 3, 1, 10, 0, tzinfo=UTC)


def user_id(index: int) -> ObjectId:
    """Return the id of the fan with this place in the campaign."""
    cycle, place = divmod(index, DISTINCT)
    return ObjectId(ID_PREFIX + cycle.to_bytes(2, "big") + place.to_bytes(2, "big"))


def campaign(campaign_id: ObjectId) -> dict[str, Any]:
    return {
        "_id": campaign_id,
        "name": "The Long Tour, 2024",
        "type": "standard",
        "artist": {"name": "The Benchmarks"},
        "preferences": [
            {"id": "newsletter", "type": "checkbox", "is_optional": True, "label": {"en-us": "Newsletter"}},
            {"id": "heard_from", "type": "text", "is_optional": True, "label": {"en-us": "How did you hear of us?"}},
        ],
    }


def markets(campaign_id: ObjectId) -> list[dict[str, Any]]:
    return [
        {
            "_id": ObjectId(f"64f0c0ffee0000000001{index:04x}"),
            "campaignId": str(campaign_id),
            "name": f"{city} {index}",
            "city": city,
            "countryCode": "US",
            **({"state": state} if state else {}),
            "event": {"date": _START + timedelta(days=40 + 3 * index), "ids": [f"E{index:05d}A", f"E{index:05d}B"]},
        }
        for index, (city, state) in enumerate(_CITIES * 3)
    ]


class Fans:
    """The distinct entries and their users; `users[place]` is None for an entry whose user does not exist."""

    def __init__(self, seed: int, dirty: float, *, nested: bool = False) -> None:
        """Make the documents; a share `dirty` of the entries, and of the users, has one value of another type.

        With `nested`, the first name of each user is a document.
        """
        self._random = random.Random(seed)
        self._markets = [str(market["_id"]) for market in markets(CAMPAIGN_ID)]
        self.entries = [self._entry(place) for place in range(DISTINCT)]
        self.users = [self._user(place) for place in range(DISTINCT)]
        for documents, soil in ((self.entries, _soil_entry), (self.users, _soil_user)):
            for place in self._random.sample(range(DISTINCT), round(dirty * DISTINCT)):
                soil(documents[place], self._random)
        for user in self.users if nested else ():
            _nest_name(user)
        for place in range(_UNKNOWN_USER_EVERY - 1, DISTINCT, _UNKNOWN_USER_EVERY):
            self.users[place] = None

    def _maybe(self, share: float, **values: Any) -> dict[str, Any]:
        return values if self._random.random() < share else {}

    def _name(self) -> tuple[str, str]:
        last = _RARE_LAST_NAMES if self._random.random() < 0.01 else _LAST_NAMES
        return self._random.choice(_FIRST_NAMES), self._random.choice(last)

    def _phone(self) -> str:
        return f"+1{self._random.randrange(2_000_000_000, 9_999_999_999)}"

    def _entry(self, place: int) -> dict[str, Any]:
        chance, created = self._random, _START + timedelta(milliseconds=self._random.randrange(10**9))
        first, last = self._name()
        return {
            "_id": {"campaign_id": str(CAMPAIGN_ID), "user_id": str(user_id(place))},
            "date": {"created": created, **self._maybe(0.6, phoneConfirmed=created + timedelta(minutes=3))},
            "locale": chance.choice(_LOCALES),
            "fields": {
                "market": chance.choice(self._markets) if chance.random() < 0.999 else "0" * 24,
                **self._maybe(0.3, additionalMarkets=chance.sample(self._markets, 2)),
                **self._maybe(0.9, email=f"fan.{place}@example.com"),
                **self._maybe(0.7, phone=self._phone()),
                **self._maybe(0.8, first_name=first, last_name=last),
                **{name: chance.random() < 0.5 for name in ("allowMarketing", "allowLiveNation", "allowSms")},
                **self._maybe(0.7, newsletter=chance.random() < 0.5),
                **self._maybe(0.4, heard_from=chance.choice(_HEARD_FROM)),
            },
            **self._maybe(0.95, origin={"ip": self._address()}),
            **self._maybe(0.9, nudetect={"score": chance.randrange(1000), "scoreBand": chance.choice("ABCD")}),
            **self._maybe(0.9, accountFanscore=round(chance.random() * 100, 2)),
        }

    def _address(self) -> dict[str, Any]:
        chance = self._random
        return {
            "address": ".".join(str(chance.randrange(1, 255)) for _ in range(4)),
            **self._maybe(0.9, postalCode=f"{chance.randrange(100_000):05d}"),
            "latitude": round(chance.uniform(-60, 60), 4),
            "longitude": round(chance.uniform(-180, 180), 4),
            "countryCode": "US",
        }

    def _user(self, place: int) -> dict[str, Any] | None:
        first, last = self._name()
        account = {
            "id": f"tm-{place:08d}",
            "member_id": f"{self._random.getrandbits(48):x}",
            "globalUserId": f"gu_{self._random.getrandbits(96):024x}",
            "email": f"account.{place}@example.org",
            **self._maybe(0.8, phone=self._phone()),
            **self._maybe(0.9, postalCode=f"{self._random.randrange(100_000):05d}"),
            "name": {"first": first, "last": last},
        }
        return {"_id": user_id(place), "integrations": {"ticketmaster": account}}


def _soil_entry(entry: dict[str, Any], chance: random.Random) -> None:
    match chance.randrange(5):
        case 0:
            entry["fields"]["phone"] = Int64(14_155_550_123)
        case 1:
            entry["fields"]["first_name"] = None
            entry["fields"]["email"] = ["a@example.com", "b@example.com"]
        case 2:
            entry["origin"] = {"ip": {"postalCode": chance.choice((78_701, 78_701.0, 0.5)), "address": None}}
        case 3:
            entry["fields"]["market"] = ObjectId(entry["fields"]["market"])
        case _:
            entry["accountFanscore"] = Decimal128("12.50")


def _soil_user(user: dict[str, Any], chance: random.Random) -> None:
    account = user["integrations"]["ticketmaster"]
    match chance.randrange(3):
        case 0:
            account["member_id"] = chance.getrandbits(31)
        case 1:
            account["postalCode"] = 78_701.0
        case _:
            _nest_name(user)


def _nest_name(user: dict[str, Any] | None) -> None:
    assert user is not None
    name = user["integrations"]["ticketmaster"]["name"]
    name["first"] = {"given": name["first"]}
