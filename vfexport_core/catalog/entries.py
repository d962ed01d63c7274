"""``entries``: every entry of a campaign, as analysts and promoters read it."""

from __future__ import annotations

from vfexport_core.catalog.collections import Collection
from vfexport_core.catalog.contact import ENTRY_COLUMNS, OWN_MARKET, USER_OF_ENTRY
from vfexport_core.catalog.expressions import PreferenceColumns
from vfexport_core.catalog.spec import Bucket, Expansion, ExportSpec, ExportType, Scan

ENTRIES = ExportSpec(
    type=ExportType.ENTRIES,
    summary="every entry, with one more row per additional market when includeAllMarkets is set",
    scan=Scan(Collection.ENTRIES),
    lookups=(USER_OF_ENTRY,),
    columns=(*ENTRY_COLUMNS, PreferenceColumns()),
    bucket=Bucket.EXPORTS,
    market=OWN_MARKET,
    expansion=Expansion.MARKETS_IF_ASKED,
)
