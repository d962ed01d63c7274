"""The reminders for Salesforce Marketing Cloud (SFMC): the selected fans with their code, by region and locale."""

from __future__ import annotations

from dataclasses import replace

from vfexport_core.catalog.collections import Collection, Field, FieldType
from vfexport_core.catalog.contact import (
    EMAIL,
    FIRST_NAME,
    LAST_NAME,
    SCORING_LOCALE,
    campaign,
    entry,
    market,
    scoring,
)
from vfexport_core.catalog.expressions import (
    ArtistName,
    Column,
    FirstOf,
    Joined,
    Region,
    SfmcLocale,
    SubscriberKey,
    Territory,
    UpperCase,
)
from vfexport_core.catalog.spec import (
    Bucket,
    Container,
    Expansion,
    ExportSpec,
    ExportType,
    GroupBy,
    IsTrue,
    Lookup,
    Sample,
    Scan,
    Shape,
)

CODES_HELD = scoring("codes", FieldType.ANY)
HELD_CODE_ID = Field(Collection.HELD_CODES, ("id",))
HELD_CODE_MARKET = Field(Collection.HELD_CODES, ("marketId",))

_TERRITORY = Territory(SCORING_LOCALE)
COUNTRY_CODE = UpperCase(FirstOf((scoring("countryCode"), entry("origin.ip.countryCode"), _TERRITORY)))
REGION = Region(COUNTRY_CODE)
SFMC_LOCALE = SfmcLocale(SCORING_LOCALE, REGION)

REMINDER_EMAIL = ExportSpec(
    type=ExportType.REMINDER_EMAIL,
    summary="selected scoring records with their code, by region and locale",
    scan=Scan(Collection.SCORING, where=IsTrue(scoring("selected", FieldType.BOOLEAN))),
    lookups=(Lookup(Collection.ENTRIES, scoring("userId")), Lookup(Collection.USERS, scoring("userId"))),
    market=HELD_CODE_MARKET,
    columns=(
        Column("SubscriberKey", SubscriberKey(EMAIL)),
        Column("EmailAddress", EMAIL),
        Column("FirstName", FIRST_NAME),
        Column("LastName", LAST_NAME),
        Column("Locale", SFMC_LOCALE),
        Column("CountryCode", COUNTRY_CODE),
        Column("Region", REGION),
        Column("ArtistName", ArtistName()),
        Column("CampaignId", campaign("_id")),
        Column("CampaignName", campaign("name")),
        Column("MarketName", market("name")),
        Column("City", market("city")),
        Column("State", market("state")),
        Column("EventDate", market("event.date", FieldType.DATE)),
        Column("EventIds", Joined(market("event.ids", FieldType.TEXT_LIST), ",")),
        Column("AccessCode", HELD_CODE_ID),
        Column("TicketUrl", campaign("ticketUrl")),
    ),
    bucket=Bucket.EXPORTS,
    expansion=Expansion.HELD_CODES,
    shape=Shape(group_by=GroupBy.REGION_AND_LOCALE, container=Container.ZIP),
    machine_feed=True,
)

REMINDER_EMAIL_SAMPLE = replace(
    REMINDER_EMAIL,
    type=ExportType.REMINDER_EMAIL_SAMPLE,
    summary="the first reminderEmail rows per locale and market, to look at before the mail goes out",
    shape=Shape(sample=Sample.FIRST_PER_LOCALE_AND_MARKET),
    preliminary_count=False,
)

AUTO_REMINDER_EMAIL = replace(
    REMINDER_EMAIL,
    type=ExportType.AUTO_REMINDER_EMAIL,
    summary="the reminders as SFMC picks them up: one file per region and locale",
    bucket=Bucket.SFMC,
    shape=Shape(group_by=GroupBy.REGION_AND_LOCALE, container=Container.OBJECTS),
    machine_feed=False,
    preliminary_count=False,
    ccpa_deletes=False,
)
