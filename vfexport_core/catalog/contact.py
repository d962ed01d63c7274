"""Fields and column groups that several export types share."""

from __future__ import annotations

from vfexport_core.catalog.collections import Collection, Field, FieldType
from vfexport_core.catalog.expressions import Column, FirstOf, Joined, ShowLabel
from vfexport_core.catalog.spec import Lookup


def entry(path: str, type_: FieldType = FieldType.TEXT) -> Field:
    """Return a field of the fan's entry (E)."""
    return Field(Collection.ENTRIES, tuple(path.split(".")), type_)


def user(path: str) -> Field:
    """Return a field of the fan's account (U), counted from ``integrations.ticketmaster``."""
    return Field(Collection.USERS, ("integrations", "ticketmaster", *path.split(".")))


def market(path: str, type_: FieldType = FieldType.TEXT) -> Field:
    """Return a field of the row's market (M)."""
    return Field(Collection.MARKETS, tuple(path.split(".")), type_)


def campaign(path: str) -> Field:
    """Return a field of the campaign (C)."""
    return Field(Collection.CAMPAIGNS, tuple(path.split(".")))


def scoring(path: str, type_: FieldType = FieldType.TEXT) -> Field:
    """Return a field of the fan's scoring record (S)."""
    return Field(Collection.SCORING, tuple(path.split(".")), type_)


def code(path: str, type_: FieldType = FieldType.TEXT) -> Field:
    """Return a field of a code (K)."""
    return Field(Collection.CODES, tuple(path.split(".")), type_)


USER_ID = entry("_id.user_id")
OWN_MARKET = entry("fields.market")
ADDITIONAL_MARKETS = entry("fields.additionalMarkets", FieldType.TEXT_LIST)
PROMOTER_OPT_INS = entry("fields.promoterOptIns", FieldType.TEXT_LIST)

USER_OF_ENTRY = Lookup(Collection.USERS, USER_ID)

EMAIL = FirstOf((entry("fields.email"), user("email")))
FIRST_NAME = FirstOf((user("name.first"), entry("fields.first_name")))
LAST_NAME = FirstOf((user("name.last"), entry("fields.last_name")))
POSTAL_CODE = FirstOf((entry("origin.ip.postalCode"), user("postalCode")))
PHONE = FirstOf((entry("fields.phone"), user("phone")))
ENTRY_DATE = entry("date.created", FieldType.DATE)
COUNTRY = FirstOf((entry("origin.ip.countryCode"), market("countryCode")))
SCORING_LOCALE = FirstOf((scoring("locale"), entry("locale")))

GLOBAL_USER_ID = Column("globalUserId", user("globalUserId"))
NAMES = (Column("first_name", FIRST_NAME), Column("last_name", LAST_NAME))
MARKET_NAME = Column("market", market("name"))

ENTRY_COLUMNS = (
    Column("id", USER_ID),
    Column("contest_title", campaign("name")),
    Column("entry_date", ENTRY_DATE),
    Column("tm_id", user("id")),
    GLOBAL_USER_ID,
    Column("ip_address", entry("origin.ip.address")),
    Column("email", EMAIL),
    *NAMES,
    Column("Zip Code", POSTAL_CODE),
    Column("Mobile Phone", PHONE),
    Column("Hbase_ID", user("member_id")),
    Column("Select Show", ShowLabel()),
    Column("Event_ID", Joined(market("event.ids", FieldType.TEXT_LIST), ",")),
    Column("locale", entry("locale")),
    Column("campaign_id", campaign("_id")),
    Column("Phone confirmed", entry("date.phoneConfirmed", FieldType.DATE)),
)
