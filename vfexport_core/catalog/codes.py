"""The three exports of access codes: all of a campaign, those with a fan, those of one wave."""

from __future__ import annotations

from vfexport_core.catalog.collections import Collection, FieldType
from vfexport_core.catalog.contact import (
    EMAIL,
    FIRST_NAME,
    GLOBAL_USER_ID,
    MARKET_NAME,
    NAMES,
    PHONE,
    code,
    entry,
)
from vfexport_core.catalog.expressions import Column
from vfexport_core.catalog.spec import Bucket, ExportSpec, ExportType, IsDateKey, IsOneOf, Lookup, Scan

_ASSIGNED_USER = code("assignment.userId")
_FAN_OF_CODE = (Lookup(Collection.ENTRIES, _ASSIGNED_USER), Lookup(Collection.USERS, _ASSIGNED_USER))

_CODE = Column("code", code("_id"))
_EVENT_ID = Column("event_id", code("eventId"))
_MARKET_ID = Column("market_id", code("marketId"))
_MEMBER_ID = code("assignment.memberId")
_ASSIGNED_AT = Column("assigned_at", code("assignment.date", FieldType.DATE))

CODES = ExportSpec(
    type=ExportType.CODES,
    summary="every code of the campaign",
    scan=Scan(Collection.CODES),
    market=code("marketId"),
    columns=(
        _CODE,
        _MARKET_ID,
        MARKET_NAME,
        _EVENT_ID,
        Column("status", code("status")),
        Column("assigned_to", _MEMBER_ID),
        _ASSIGNED_AT,
    ),
    bucket=Bucket.EXPORTS,
    needs_markets=False,
)

CODE_ASSIGNMENTS = ExportSpec(
    type=ExportType.CODE_ASSIGNMENTS,
    summary="assigned or redeemed codes, with their fan",
    scan=Scan(Collection.CODES, where=IsOneOf(code("status"), ("ASSIGNED", "REDEEMED"))),
    lookups=_FAN_OF_CODE,
    columns=(
        _EVENT_ID,
        _MARKET_ID,
        _CODE,
        Column("user_id", _ASSIGNED_USER),
        Column("member_id", _MEMBER_ID),
        GLOBAL_USER_ID,
        Column("email", EMAIL),
        *NAMES,
        _ASSIGNED_AT,
    ),
    bucket=Bucket.EXPORTS,
    needs_markets=False,
)

CODE_WAVES = ExportSpec(
    type=ExportType.CODE_WAVES,
    summary="codes of the wave dateKey",
    scan=Scan(Collection.CODES, where=IsDateKey(code("dateKey"))),
    lookups=_FAN_OF_CODE,
    columns=(
        Column("member_id", _MEMBER_ID),
        _CODE,
        _EVENT_ID,
        _MARKET_ID,
        Column("phone", PHONE),
        Column("first_name", FIRST_NAME),
        Column("locale", entry("locale")),
        Column("date_key", code("dateKey")),
    ),
    bucket=Bucket.VF_SCORING,
    needs_markets=False,
    needs_date_key=True,
    preliminary_count=False,
)
