"""Hypothesis strategies: whole campaigns of dirty documents, as raw BSON."""

from __future__ import annotations

from tests.strategies.campaigns import CAMPAIGN_ID, DATE_KEY, campaigns
from tests.strategies.loading import load
from tests.strategies.tiling import tile
from tests.strategies.values import Dirt, anything

# What the embedded MongoDB can hold and projects as MongoDB does.
EMBEDDED = Dirt(invalid_utf8=False, array_paths=False, far_dates=False)

__all__ = ["CAMPAIGN_ID", "DATE_KEY", "EMBEDDED", "Dirt", "anything", "campaigns", "load", "tile"]
