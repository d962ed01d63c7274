"""The yardstick: the same files as a competent developer writes them with pymongo and csv, row by row.

Nothing clever and nothing silly: one cursor with a projection in the order of ``_id``, users looked up by the batch,
what depends on the market rendered once per market, ``csv.writer``. It knows the cell rules of 03-export-types, so its
bytes are those of the pipeline. It shares no code with it.
"""

from __future__ import annotations

import csv
import json
import re
from datetime import datetime
from itertools import islice
from typing import Any

from bson import Decimal128, MaxKey, ObjectId
from bson.codec_options import CodecOptions

BATCH_DOCUMENTS = 1_000

_CODEC: CodecOptions = CodecOptions(unicode_decode_error_handler="replace")
_ACCOUNT = "integrations.ticketmaster"
ENTRY_PATHS = (
    *("_id.user_id", "date.created", "date.phoneConfirmed", "locale", "origin.ip.address", "origin.ip.postalCode"),
    *("fields.market", "fields.email", "fields.first_name", "fields.last_name", "fields.phone"),
)
SCORE_PATHS = ("nudetect.score", "nudetect.scoreBand", "accountFanscore", "origin.ip.latitude", "origin.ip.longitude")
USER_PATHS = tuple(
    f"{_ACCOUNT}.{name}"
    for name in ("id", "globalUserId", "email", "name.first", "name.last", "postalCode", "phone", "member_id")
)
_HEADER = (
    *("id", "contest_title", "entry_date", "tm_id", "globalUserId", "ip_address", "email", "first_name", "last_name"),
    *("Zip Code", "Mobile Phone", "Hbase_ID", "Select Show", "Event_ID", "locale", "campaign_id", "Phone confirmed"),
)
_SCORE_HEADER = ("nudata_score", "nudata_score_band", "fanscore", "latitude", "longitude")
_FORMULA = frozenset("=+-@\t\r")
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9][0-9 ().-]*")


def cell(value: Any) -> str:  # noqa: PLR0911 one return per BSON type
    """Write a value's cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list):
        return ";".join(map(cell, value))
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=cell)
    if isinstance(value, (int, ObjectId, Decimal128)):
        return str(value)
    raise TypeError(f"no cell rule for {type(value).__name__}")


def guarded_cell(value: Any) -> str:
    """Write a value's cell so that a spreadsheet does not run it."""
    text = cell(value)
    if text and text[0] in _FORMULA and isinstance(value, (str, list, dict)) and not _PLAIN_NUMBER.fullmatch(text):
        return "'" + text
    return text


def first_of(value: Any, other: Any) -> Any:
    return other if value is None or value == "" else value


class PlainExporter:
    """Writes one campaign's ``entries`` or ``scoring`` file."""

    def __init__(self, database: Any, campaign_id: ObjectId, export_type: str, lookup_batch: int) -> None:
        self._entries = database["entries"].with_options(codec_options=_CODEC)
        self._users = database["users"].with_options(codec_options=_CODEC)
        self._lookup_batch = lookup_batch
        self._scoring = export_type == "scoring"
        self._cell = cell if self._scoring else guarded_cell
        self._campaign = database["campaigns"].find_one({"_id": campaign_id})
        self._preferences = [] if self._scoring else self._campaign.get("preferences", [])
        markets = database["markets"].find({"campaignId": str(campaign_id)}).sort("_id", 1)
        self._shows = {str(market["_id"]): self._show(market) for market in markets}

    def write(self, text_stream: Any) -> int:
        """Write the file and return the number of its rows."""
        writer = csv.writer(text_stream, lineterminator="\n")
        scores = _SCORE_HEADER if self._scoring else ()
        writer.writerow([*_HEADER, *scores, *(f"#{each['type']}.{each['id']}" for each in self._preferences)])
        cursor = iter(self._find_entries())
        rows = 0
        while entries := list(islice(cursor, self._lookup_batch)):
            users = self._find_users(entries)
            for entry in entries:
                writer.writerow(map(self._cell, self._row(entry, users.get(entry["_id"]["user_id"], {}))))
            rows += len(entries)
        return rows

    def _find_entries(self) -> Any:
        campaign_id = str(self._campaign["_id"])
        paths = [*ENTRY_PATHS, *(f"fields.{each['id']}" for each in self._preferences)]
        if self._scoring:
            paths += SCORE_PATHS
        selection = {
            "_id": {"$gte": {"campaign_id": campaign_id}, "$lte": {"campaign_id": campaign_id, "user_id": MaxKey()}}
        }
        return self._entries.find(selection, dict.fromkeys(paths, 1)).sort("_id", 1).batch_size(BATCH_DOCUMENTS)

    def _find_users(self, entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Read the accounts of these entries' fans, by user id."""
        ids = [ObjectId(entry["_id"]["user_id"]) for entry in entries]
        users = self._users.find({"_id": {"$in": ids}}, dict.fromkeys(USER_PATHS, 1)).batch_size(len(ids) + 1)
        return {str(user["_id"]): user["integrations"]["ticketmaster"] for user in users}

    def _row(self, entry: dict[str, Any], user: dict[str, Any]) -> list[Any]:
        fields, date = entry["fields"], entry["date"]
        address = entry.get("origin", {}).get("ip", {})
        name = user.get("name", {})
        show, event_ids = self._shows.get(str(fields.get("market")), ("", ""))
        row = [
            entry["_id"]["user_id"],
            self._campaign["name"],
            date.get("created"),
            user.get("id"),
            user.get("globalUserId"),
            address.get("address"),
            first_of(fields.get("email"), user.get("email")),
            first_of(name.get("first"), fields.get("first_name")),
            first_of(name.get("last"), fields.get("last_name")),
            first_of(address.get("postalCode"), user.get("postalCode")),
            first_of(fields.get("phone"), user.get("phone")),
            user.get("member_id"),
            show,
            event_ids,
            entry.get("locale"),
            self._campaign["_id"],
            date.get("phoneConfirmed"),
        ]
        if self._scoring:
            score = entry.get("nudetect", {})
            row += [score.get("score"), score.get("scoreBand"), entry.get("accountFanscore")]
            row += [address.get("latitude"), address.get("longitude")]
        for preference in self._preferences:
            value = fields.get(preference["id"])
            row.append(False if value is None else value)
        return row

    def _show(self, market: dict[str, Any]) -> tuple[str, str]:
        """Return the market's label and its event ids."""
        event = market.get("event", {})
        date = event.get("date")
        place = ", ".join(filter(None, (market.get("city"), market.get("state"))))
        label = " - ".join(filter(None, (date and f"{date.month}/{date.day:02d}", place)))
        return label, ",".join(event.get("ids", []))
