"""Campaigns and what is small around them (markets, promoters, waves): read once per run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson import ObjectId
from bson.errors import InvalidId
from pymongo.errors import PyMongoError

from vfexport_core.errors import CampaignNotFound
from vfexport_core.mongo.client import open_deciding
from vfexport_core.mongo.retry import CALLER_LIMITS, ReadRetries, RetryLimits, retry_read, with_retries
from vfexport_core.sources.ranges import CampaignRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document


def find_campaign(database: Database[Document], campaign_id: str, *, limits: RetryLimits = CALLER_LIMITS) -> Document:
    """Read one campaign, trying within `limits`: a caller of the API waits, a run has patience.

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


def find_markets(database: Database[Document], campaign_id: str) -> list[Document]:
    """Read the campaign's markets, by ``_id``; raises SourceUnavailable."""
    markets, match = open_deciding(database, "markets"), CampaignRange(campaign_id).match()
    return retry_read(lambda: list(markets.find(match).sort("_id", 1)), ReadRetries("markets", operation="find"))


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
