"""A small campaign made large: the same entries again under other user ids."""

from __future__ import annotations

import re
from typing import Any

from bson import ObjectId

from tests.builders import to_bson
from tests.reference import Campaign, decode

STEP = 2**48  # above the numbers of user_hex, so that copies never meet
HEX_ID = re.compile("[0-9a-fA-F]{24}")


def tile(campaign: Campaign, times: int) -> Campaign:
    """Repeat entries, users and scoring records `times` times; the other collections stay as they are.

    Each copy's ids are moved by a constant, so looking up works in it as in the first; entries whose user_id is not
    24 hex digits are in the first copy only. Documents come copy by copy, in bytes.
    """
    copies = range(times)
    return Campaign(
        campaign.campaign,
        campaign.markets,
        [_moved(decode(user), copy, "_id") for copy in copies for user in campaign.users],
        [entry for copy in copies for entry in _entries(campaign, copy)],
        [_moved(decode(record), copy, "_id", "userId") for copy in copies for record in campaign.scoring],
        campaign.codes,
        campaign.sms_waves,
        campaign.promoters,
    )


def _entries(campaign: Campaign, copy: int) -> list[bytes]:
    moved = []
    for source in campaign.entries:
        entry = decode(source)
        user_id = entry["_id"]["user_id"]
        if copy == 0 or isinstance(user_id, ObjectId) or (isinstance(user_id, str) and HEX_ID.fullmatch(user_id)):
            entry["_id"] = entry["_id"] | {"user_id": _move(user_id, copy)}
            moved.append(to_bson(entry))
    return moved


def _moved(document: dict[str, Any], copy: int, *names: str) -> bytes:
    return to_bson(document | {name: _move(document[name], copy) for name in names if name in document})


def _move(value: Any, copy: int) -> Any:
    """Move an id; a value that is no 24-hex id stays."""
    if copy == 0:
        return value
    if isinstance(value, ObjectId):
        return ObjectId(_move(str(value), copy))
    if type(value) is str and HEX_ID.fullmatch(value):
        moved = f"{int(value, 16) + copy * STEP:024x}"
        return moved.upper() if value.upper() == value else moved
    return value
