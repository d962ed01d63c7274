"""Campaigns and what is small around them (markets, promoters, waves): read once per run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from bson import ObjectId
from bson.errors import InvalidId
from pymongo.errors import PyMongoError

from vfexport_core.errors import CampaignNotFound, NoMarketsFound
from vfexport_core.mongo.client import open_deciding
from vfexport_core.mongo.retry import CALLER_LIMITS, ReadRetries, RetryLimits, retry_read, with_retries
from vfexport_core.sources.conditions import stored_date_keys
from vfexport_core.sources.ranges import CampaignRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pymongo.collection import Collection
    from pymongo.database import Database

    from vfexport_core.catalog import ExportSpec
    from vfexport_core.mongo.document import Document

T = TypeVar("T")


def find_campaign(database: Database[Document], campaign_id: str, *, limits: RetryLimits = CALLER_LIMITS) -> Document:
    """Read one campaign, trying within `limits`: a caller of the API waits for less time than a run may.

    Raises CampaignNotFound (also when the id is not an ObjectId), SourceUnavailable.
    """
    try:
        key = ObjectId(campaign_id)
    except (InvalidId, TypeError):
        raise CampaignNotFound("no such campaign: its id is not an ObjectId", payload=campaign_id[:64]) from None
    campaigns = open_deciding(database, "campaigns")
    campaign = with_retries(campaigns, lambda: campaigns.find_one({"_id": key}), limits, name="find")
    if campaign is None:
        raise CampaignNotFound("no such campaign", payload=campaign_id)
    return campaign


def newest_campaigns(database: Database[Document], limit: int, limits: RetryLimits) -> list[tuple[str, str]]:
    """Return ids and names of the campaigns that were made last; raises SourceUnavailable."""
    campaigns = open_deciding(database, "campaigns")

    def find() -> list[Document]:
        return list(campaigns.find({}, {"name": 1}).sort("_id", -1).limit(limit))

    return [(str(one["_id"]), str(one.get("name") or "")) for one in with_retries(campaigns, find, limits, name="find")]


def names_of_campaigns(database: Database[Document], ids: Sequence[str], limits: RetryLimits) -> list[tuple[str, str]]:
    """Return ids and names of those of these campaigns that there are; raises SourceUnavailable."""
    campaigns, keys = open_deciding(database, "campaigns"), [ObjectId(one) for one in ids if ObjectId.is_valid(one)]

    def find() -> list[Document]:
        return list(campaigns.find({"_id": {"$in": keys}}, {"name": 1}).sort("_id", -1))

    return [(str(one["_id"]), str(one.get("name") or "")) for one in with_retries(campaigns, find, limits, name="find")]


def find_markets(database: Database[Document], campaign_id: str) -> list[Document]:
    """Read the campaign's markets, by ``_id``; raises SourceUnavailable."""
    markets, match = open_deciding(database, "markets"), CampaignRange(campaign_id).match()
    return retry_read(lambda: list(markets.find(match).sort("_id", 1)), ReadRetries("markets", operation="find"))


def check_markets(spec: ExportSpec, campaign_id: str, database: Database[Document]) -> None:
    """Raise NoMarketsFound when the type needs markets and the campaign has none; SourceUnavailable."""
    if not spec.needs_markets:
        return
    markets, match = open_deciding(database, "markets"), CampaignRange(campaign_id).match()
    if retry_read(lambda: markets.find_one(match, {"_id": 1}), ReadRetries("markets", operation="find")) is None:
        raise NoMarketsFound(f"campaign {campaign_id} has no market", payload=campaign_id)


def is_wave(database: Database[Document], campaign_id: str, date_key: str) -> bool:
    """Return whether a code of the campaign has this date key; raises SourceUnavailable.

    No index is expected to serve this: where the codes are too many to tell while a caller waits, True.
    """
    match = {**CampaignRange(campaign_id).match(), "dateKey": {"$in": stored_date_keys(date_key)}}
    return _ask_codes(database, lambda codes: codes.find_one(match, {"_id": 1}) is not None, otherwise=True)


def find_wave_keys(database: Database[Document], campaign_id: str, *, quickly: bool = False) -> list[str]:
    """Return the date keys that the campaign's codes have, in ascending order; raises SourceUnavailable.

    All codes are read for this, for as long as it takes; `quickly`: none when a caller would have to wait for that.
    """
    match = CampaignRange(campaign_id).match()

    def look(codes: Collection[Document]) -> list[Any]:
        return codes.distinct("dateKey", match)

    if quickly:
        found = _ask_codes(database, look, otherwise=[])
    else:
        codes = open_deciding(database, "codes")
        found = retry_read(lambda: look(codes), ReadRetries("codes", operation="distinct"))
    return sorted({text for value in found if (text := _date_key(value))}, key=lambda text: (len(text), text))


def _ask_codes(database: Database[Document], look: Callable[[Collection[Document]], T], *, otherwise: T) -> T:
    """Return what `look` finds in the campaign's codes; `otherwise` when there is no time to find it."""
    codes = open_deciding(database, "codes")

    def look_within_time() -> T:
        try:
            return look(codes)
        except PyMongoError as error:
            # A slow answer to this is no sign of a silent server.
            if error.timeout:
                return otherwise
            raise

    return with_retries(codes, look_within_time, CALLER_LIMITS, name="find")


def _date_key(value: Any) -> str:
    """Return a stored date key as a request names it; empty for what none can name."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    text = str(number) if isinstance(number, (str, int)) and not isinstance(number, bool) else ""
    return text if text.isascii() and text.isdecimal() else ""


def find_promoters(database: Database[Document], ids: Sequence[str]) -> list[Document]:
    """Read the promoters of these ids (texts; an ObjectId counts by its hex); raises SourceUnavailable."""
    forms: list[Any] = [*ids, *(ObjectId(text) for text in ids if ObjectId.is_valid(text))]
    promoters = open_deciding(database, "promoters")
    return retry_read(
        lambda: list(promoters.find({"_id": {"$in": forms}}, {"name": 1})), ReadRetries("promoters", operation="find")
    )


def scheduled_members(database: Database[Document], campaign_id: str) -> Iterator[list[Any]]:
    """Yield the members of each document of the campaign's SCHEDULED SMS waves; raises SourceUnavailable.

    Documents may hold megabytes, so they come one by one and unsorted. After a fault they are read from the start, less
    those that came before: a member may come twice when a wave changes meanwhile, none is missed.
    """
    match = {**CampaignRange(campaign_id).match(), "status": "SCHEDULED"}
    waves, retries = open_deciding(database, "smsWaves"), ReadRetries("smsWaves", operation="find")
    seen: list[Any] = []
    while True:
        try:
            for wave in waves.find({**match, "_id": {"$nin": seen}}, {"memberIds": 1}, batch_size=1):
                retries.progressed()
                seen.append(wave["_id"])
                members = wave.get("memberIds")
                yield members if isinstance(members, list) else [members]
        except PyMongoError as error:
            retries.failed(error)
        else:
            return
