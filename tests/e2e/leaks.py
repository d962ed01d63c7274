"""Looking for marked texts in whatever a running service has written down."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import ObjectId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pymongo import MongoClient
    from pymongo.database import Database

    from tests.e2e.stack import Stack

# Plain letters and digits, so that no way of writing them down changes them.
MONGO_PASSWORD = "Leak0MongoPassword"
S3_SECRET = "Leak1S3Secret"
HASH_KEY = "Leak2HashKeyLeak2HashKeyLeak2HashKey"
USER_ID = "Leak3UserId"
FAN = {
    "email": "Leak4Email",
    "phone": "Leak5Phone",
    "first": "Leak6First",
    "last": "Leak7Last",
    "postal": "Leak8Postal",
    "ip": "Leak9Address",
    "member": "Leak10Member",
    "preference": "Leak11Preference",
}


@dataclass(frozen=True)
class Written:
    """Something that was written down, and where."""

    place: str
    data: bytes


def marked_user(client: MongoClient[dict[str, Any]], uri: str) -> str:
    """Return the server a user with a marked password, and the address that uses it."""
    with contextlib.suppress(Exception):  # it is there from an earlier module
        client.admin.command("createUser", "marked", pwd=MONGO_PASSWORD, roles=["root"])
    return uri.replace("mongodb://", f"mongodb://marked:{MONGO_PASSWORD}@")


def insert_marked_campaign(database: Database[dict[str, Any]]) -> tuple[str, str]:
    """Insert a campaign of two fans all of whose fields are marked, one of them with fields of odd types.

    Gives the ids of the campaign and of the second fan.
    """
    campaign, market = ObjectId(), ObjectId()
    preference = str(ObjectId())
    preferences = [{"id": preference, "type": "text", "is_optional": True, "label": {"en-us": "Question"}}]
    database.campaigns.insert_one(
        {"_id": campaign, "name": "Marked Tour", "type": "standard", "preferences": preferences}
    )
    database.markets.insert_one({"_id": market, "campaignId": str(campaign), "name": "Here", "countryCode": "US"})
    users = [ObjectId(), ObjectId()]
    for number, user in enumerate(users):
        odd = {} if number == 0 else {"phone": [FAN["phone"]], "first_name": {"odd": FAN["first"]}}
        name = {"first": FAN["first"], "last": FAN["last"]}
        contact = {"email": f"{FAN['email']}@example.com", "phone": FAN["phone"], "postalCode": FAN["postal"]}
        ticketmaster = {"id": "1", "member_id": FAN["member"], "globalUserId": "2", "name": name, **contact}
        database.users.insert_one({"_id": user, "integrations": {"ticketmaster": ticketmaster}})
        fields = {
            "market": str(market),
            "email": contact["email"],
            "phone": FAN["phone"],
            preference: FAN["preference"],
        }
        database.entries.insert_one(
            {
                "_id": {"campaign_id": str(campaign), "user_id": str(user)},
                "locale": "en-us",
                "fields": {**fields, "first_name": FAN["first"], "last_name": FAN["last"], **odd},
                "origin": {"ip": {"address": FAN["ip"], "postalCode": FAN["postal"], "countryCode": "US"}},
            }
        )
    return str(campaign), str(users[-1])


def files_of(folder: Path) -> Iterator[Written]:
    """Return every file, and every value of those that are SQLite databases, unpacked where it was packed."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        place = str(path.relative_to(folder))
        with contextlib.suppress(FileNotFoundError):  # a process has just taken it away
            data = path.read_bytes()
            yield Written(place, data)
            if data.startswith(b"SQLite format 3"):
                yield from _values_of(path, place)


def documents_of(database: Database[dict[str, Any]], *collections: str) -> Iterator[Written]:
    for name in collections:
        for document in database[name].find():
            yield Written(f"{name} {document['_id']}", repr(document).encode())


def leaks(written: Iterable[Written], markers: Mapping[str, str]) -> list[str]:
    """Report which marker was found where."""
    return [
        f"{name} in {item.place}"
        for item in written
        for name, marker in markers.items()
        if marker.encode() in item.data
    ]


def mistakes(stack: Stack, path: str, headers: dict[str, str], mark: str) -> Iterator[Written]:
    """Make requests that are refused, each with a marked value in another place."""
    bad_token = {**headers, "Authorization": f"Bearer {mark}"}
    attempts: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", path, {"json": {"exportType": f"{mark}@example.com"}}),
        ("POST", path, {"json": {"exportType": "codeWaves", "dateKey": mark}}),
        ("POST", path, {"json": {"exportType": "entries", "includeAllMarkets": mark}}),
        ("POST", path, {"json": {"exportType": {"$ne": mark}}}),
        (
            "POST",
            path,
            {"content": f'{{"exportType": "{mark}"', "headers": headers | {"Content-Type": "application/json"}},
        ),
        ("GET", f"{path}?status={mark}", {}),
        ("GET", f"{path}?cursor={mark}", {}),
        ("GET", f"{path}?limit={mark}", {}),
        ("GET", "/export-types", {"headers": bad_token}),
        ("GET", "/export-types", {"headers": headers | {"X-Correlation-Id": f"{mark} {mark}"}}),
        ("GET", f"/nothing/{mark}", {}),
    ]
    for method, where, options in attempts:
        answer = stack.api.request(method, where, **({"headers": headers} | options))
        assert answer.status_code >= 400 or "X-Correlation-Id" in answer.headers
        yield Written(
            f"{method} {where.replace(mark, '...')} {options}", answer.content + repr(answer.headers).encode()
        )


def _values_of(path: Path, place: str) -> Iterator[Written]:
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    if isinstance(value, (bytes, str)):
                        yield Written(f"{place} {table}", _unpacked(value))


def _unpacked(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    try:
        return zlib.decompress(data)
    except zlib.error:
        return data
