"""Synthetic campaigns: invented fans, deterministic from a seed, with the dirt of real data.

`seed_campaign` fills a database; `SyntheticCampaign` gives the same documents without one.
"""

from vfexport_core.embedded.synthetic.awards import DATE_KEYS
from vfexport_core.embedded.synthetic.campaign import (
    DEFAULT_DIRTY_SHARE,
    DEFAULT_NAME,
    CampaignBatch,
    SyntheticCampaign,
)
from vfexport_core.embedded.synthetic.indexes import SOURCE_INDEXES, create_source_indexes
from vfexport_core.embedded.synthetic.loading import seed_campaign

__all__ = [
    "DATE_KEYS",
    "DEFAULT_DIRTY_SHARE",
    "DEFAULT_NAME",
    "SOURCE_INDEXES",
    "CampaignBatch",
    "SyntheticCampaign",
    "create_source_indexes",
    "seed_campaign",
]
