"""``verifiedEntries``: the fans who were selected, for the systems that hand out codes."""

from __future__ import annotations

from vfexport_core.catalog.collections import Collection, FieldType
from vfexport_core.catalog.contact import (
    EMAIL,
    ENTRY_DATE,
    GLOBAL_USER_ID,
    MARKET_NAME,
    NAMES,
    PHONE,
    SCORING_LOCALE,
    USER_ID,
    USER_OF_ENTRY,
    campaign,
    scoring,
)
from vfexport_core.catalog.expressions import Column
from vfexport_core.catalog.spec import Bucket, ExportSpec, ExportType, IsTrue, Lookup, Scan

VERIFIED_ENTRIES = ExportSpec(
    type=ExportType.VERIFIED_ENTRIES,
    summary="entries whose scoring record is selected",
    scan=Scan(Collection.ENTRIES),
    lookups=(
        Lookup(Collection.SCORING, USER_ID, where=IsTrue(scoring("selected", FieldType.BOOLEAN)), required=True),
        USER_OF_ENTRY,
    ),
    market=scoring("marketId"),
    columns=(
        Column("campaign_id", campaign("_id")),
        Column("user_id", USER_ID),
        Column("member_id", scoring("memberId")),
        GLOBAL_USER_ID,
        Column("email", EMAIL),
        Column("phone", PHONE),
        *NAMES,
        Column("market_id", scoring("marketId")),
        MARKET_NAME,
        Column("locale", SCORING_LOCALE),
        Column("score", scoring("score", FieldType.NUMBER)),
        Column("priority", scoring("priority", FieldType.NUMBER)),
        Column("entry_date", ENTRY_DATE),
    ),
    bucket=Bucket.VF_SCORING,
    ccpa_deletes=False,
)
