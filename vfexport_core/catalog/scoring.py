"""``scoring``: every entry with its fraud and fan scores, for the scoring systems."""

from __future__ import annotations

from vfexport_core.catalog.collections import Collection, FieldType
from vfexport_core.catalog.contact import ENTRY_COLUMNS, OWN_MARKET, USER_OF_ENTRY, entry
from vfexport_core.catalog.expressions import Column
from vfexport_core.catalog.spec import Acl, Bucket, ExportSpec, ExportType, Scan

SCORING = ExportSpec(
    type=ExportType.SCORING,
    summary="every entry, with fraud and fan scores",
    scan=Scan(Collection.ENTRIES),
    lookups=(USER_OF_ENTRY,),
    columns=(
        *ENTRY_COLUMNS,
        Column("nudata_score", entry("nudetect.score", FieldType.NUMBER)),
        Column("nudata_score_band", entry("nudetect.scoreBand")),
        Column("fanscore", entry("accountFanscore", FieldType.NUMBER)),
        Column("latitude", entry("origin.ip.latitude", FieldType.NUMBER)),
        Column("longitude", entry("origin.ip.longitude", FieldType.NUMBER)),
    ),
    bucket=Bucket.SCORING,
    acl=Acl.BUCKET_OWNER_FULL_CONTROL,
    market=OWN_MARKET,
    ccpa_deletes=False,
)
