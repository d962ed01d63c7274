"""``entries``: every entry of a campaign, as analysts and promoters read it."""

from __future__ import annotations

from vfexport_core.catalog.contact import ENTRY_COLUMNS, USER_OF_ENTRY
from vfexport_core.catalog.spec import Bucket, ExportSpec, ExportType, PreferenceColumns, Root, Scan

ENTRIES = ExportSpec(
    type=ExportType.ENTRIES,
    summary="every entry, with one more row per additional market when includeAllMarkets is set",
    scan=Scan(Root.ENTRY),
    lookups=(USER_OF_ENTRY,),
    columns=(*ENTRY_COLUMNS, PreferenceColumns()),
    bucket=Bucket.EXPORTS,
    per_market=True,
)
