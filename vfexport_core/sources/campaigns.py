"""Campaigns and their markets: small, read once per run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bson import ObjectId
from bson.errors import InvalidId

from vfexport_core.errors import CampaignNotFound
from vfexport_core.sources.client import SOUND_CODEC, Document, reading

if TYPE_CHECKING:
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
        return list(markets.find({"campaignId": campaign_id}).sort("_id", 1))
