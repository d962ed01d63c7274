"""What a run reads once, before the scan: the campaign's markets and promoters, the waves, the reminder tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vfexport_core.catalog.spec import Expansion
from vfexport_core.errors import NoMarketsFound, PromotersNotFound
from vfexport_core.rows.expand import elements
from vfexport_core.rows.markets import Markets
from vfexport_core.rows.members import MemberSet
from vfexport_core.rows.reminder_rules import ReminderRules
from vfexport_core.rows.values import id_key, text_of
from vfexport_core.sources.campaigns import find_markets, find_promoters, scheduled_members

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.mongo.document import Document
    from vfexport_core.settings import Settings


@dataclass(frozen=True, slots=True)
class Promoter:
    """A promoter of the campaign; one that does not exist (or has no name) goes by its id."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class ReferenceData:
    """What the rows of one campaign's export refer to, and who gets none. Holds no connection.

    `promoters` are empty, and `wave_members` None, for a type that does not ask for them.
    """

    campaign_id: str
    markets: Markets
    promoters: tuple[Promoter, ...]
    wave_members: MemberSet | None
    rules: ReminderRules

    @classmethod
    def load(
        cls, spec: ExportSpec, campaign: Mapping[str, Any], database: Database[Document], settings: Settings
    ) -> ReferenceData:
        """Read them; raises NoMarketsFound and PromotersNotFound where the type cannot do without."""
        campaign_id = id_key(campaign["_id"])
        markets = find_markets(database, campaign_id)
        if spec.needs_markets and not markets:
            raise NoMarketsFound(f"campaign {campaign_id} has no market", payload=campaign_id)
        by_promoter = spec.expansion is Expansion.PROMOTERS
        waves = None if spec.not_in_scheduled_wave is None else scheduled_members(database, campaign_id)
        return cls(
            campaign_id=campaign_id,
            markets=Markets(markets),
            promoters=_promoters(campaign, campaign_id, database) if by_promoter else (),
            wave_members=None if waves is None else MemberSet(waves),
            rules=ReminderRules(settings.regions, settings.sfmc_locales),
        )

    @property
    def promoter_keys(self) -> pa.StringArray:
        """The promoters' ids as keys, none null."""
        return pa.array([promoter.key for promoter in self.promoters], pa.string())


def _promoters(campaign: Mapping[str, Any], campaign_id: str, database: Database[Document]) -> tuple[Promoter, ...]:
    keys = list(dict.fromkeys(key for value in elements(campaign.get("promoterIds")) if (key := id_key(value))))
    found = find_promoters(database, keys) if keys else []
    if not found:
        raise PromotersNotFound(f"campaign {campaign_id} has no promoter that exists", payload=campaign_id)
    names = {id_key(promoter["_id"]): text_of(promoter.get("name")) for promoter in found}
    return tuple(Promoter(key, names.get(key) or key) for key in keys)
