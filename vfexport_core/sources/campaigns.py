"""Campaigns and what is small around them (markets, promoters, waves): read once per run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson import ObjectId
from bson.errors import InvalidId

from vfexport_core.errors import CampaignNotFound
from vfexport_core.sources.client import SOUND_CODEC, Document, reading
from vfexport_core.sources.ranges import CampaignRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymongo.database import Database


def find_campaign(database: Database[Document], campaign_id: str) -> Document:
    """Read one campaign; raises CampaignNotFound (also when the id is not an ObjectId), SourceUnavailable."""
    try:
        key = ObjectId(campaign_id)
    except (InvalidId, TypeError):
        raise CampaignNotFound("no such campaign: its id is not an ObjectId", payload=campaign_id[:64]) from None
    with reading("campaigns"):
        campaign = database["campaigns"].with_options(codec_options=SOUND_CODEC).find_one({"_id": key})
    if campaign is None:
        raise CampaignNotFound("no such campaign", payload=campaign_id)
    return campaign


def find_markets(database: Database[Document], campaign_id: str) -> list[Document]:
    """Read the campaign's markets, by ``_id``; raises SourceUnavailable."""
    with reading("markets"):
        markets = database["markets"].with_options(codec_options=SOUND_CODEC)
        return list(markets.find(CampaignRange(campaign_id).match()).sort("_id", 1))


def find_promoters(database: Database[Document], ids: Sequence[str]) -> list[Document]:
    """Read the promoters of these ids (texts; an ObjectId counts by its hex); raises SourceUnavailable."""
    forms: list[Any] = [*ids, *(ObjectId(text) for text in ids if ObjectId.is_valid(text))]
    with reading("promoters"):
        promoters = database["promoters"].with_options(codec_options=SOUND_CODEC)
        return list(promoters.find({"_id": {"$in": forms}}, {"name": 1}))


def scheduled_members(database: Database[Document], campaign_id: str) -> Iterator[list[Any]]:
    """Yield the members of each document of the campaign's SCHEDULED SMS waves; raises SourceUnavailable."""
    match = {**CampaignRange(campaign_id).match(), "status": "SCHEDULED"}
    with reading("smsWaves"):
        waves = database["smsWaves"].with_options(codec_options=SOUND_CODEC)
        for wave in waves.find(match, {"memberIds": 1}, batch_size=1):
            members = wave.get("memberIds")
            yield members if isinstance(members, list) else [members]
