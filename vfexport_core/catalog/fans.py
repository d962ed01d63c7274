"""``fanlist`` and ``waitlist``: who registered, and who was not selected."""

from __future__ import annotations

from vfexport_core.catalog.collections import Collection, FieldType
from vfexport_core.catalog.contact import (
    ADDITIONAL_MARKETS,
    COUNTRY,
    EMAIL,
    ENTRY_DATE,
    GLOBAL_USER_ID,
    MARKET_NAME,
    NAMES,
    OWN_MARKET,
    PHONE,
    POSTAL_CODE,
    SCORING_LOCALE,
    USER_ID,
    USER_OF_ENTRY,
    entry,
    scoring,
    user,
)
from vfexport_core.catalog.expressions import Column, MarketNames
from vfexport_core.catalog.spec import Bucket, ExportSpec, ExportType, IsNotTrue, Lookup, Scan

FANLIST = ExportSpec(
    type=ExportType.FANLIST,
    summary="every fan of the campaign, once",
    scan=Scan(Collection.ENTRIES),
    lookups=(USER_OF_ENTRY,),
    market=OWN_MARKET,
    columns=(
        Column("user_id", USER_ID),
        Column("member_id", user("member_id")),
        GLOBAL_USER_ID,
        Column("email", EMAIL),
        *NAMES,
        Column("phone", PHONE),
        Column("zip", POSTAL_CODE),
        Column("country", COUNTRY),
        Column("locale", entry("locale")),
        Column("markets", MarketNames(OWN_MARKET, ADDITIONAL_MARKETS)),
        Column("entry_date", ENTRY_DATE),
    ),
    bucket=Bucket.EXPORTS,
)

WAITLIST = ExportSpec(
    type=ExportType.WAITLIST,
    summary="scoring records not selected, less the members of scheduled SMS waves",
    scan=Scan(Collection.SCORING, where=IsNotTrue(scoring("selected", FieldType.BOOLEAN))),
    lookups=(Lookup(Collection.ENTRIES, scoring("userId")), Lookup(Collection.USERS, scoring("userId"))),
    market=scoring("marketId"),
    not_in_scheduled_wave=scoring("memberId"),
    columns=(
        Column("member_id", scoring("memberId")),
        Column("user_id", scoring("userId")),
        Column("email", EMAIL),
        Column("phone", PHONE),
        *NAMES,
        Column("market_id", scoring("marketId")),
        MARKET_NAME,
        Column("locale", SCORING_LOCALE),
        Column("score", scoring("score", FieldType.NUMBER)),
        Column("priority", scoring("priority", FieldType.NUMBER)),
    ),
    bucket=Bucket.EXPORTS,
    needs_markets=False,
)
